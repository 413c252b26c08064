package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/statefile"
	"github.com/statelatch/statelatch/tfconfig"
)

// A problem is how an error is printed as JSON.
type problem struct {
	Kind      string  `json:"kind"`
	ExitCode  int     `json:"exit_code"`
	Message   string  `json:"message"`
	Hint      string  `json:"hint,omitempty"`
	Workspace string  `json:"workspace,omitempty"`
	Holder    *holder `json:"holder,omitempty"`
	LockID    string  `json:"lock_id,omitempty"`
	SavedTo   string  `json:"saved_to,omitempty"` // a file: what could not be stored
}

// A holder is how a lock is printed as JSON.
type holder struct {
	ID         string     `json:"id"`
	Operation  string     `json:"operation"`
	Info       string     `json:"info"`
	Who        string     `json:"who"`
	Version    string     `json:"version"`
	Created    *time.Time `json:"created"`     // null if the record does not say
	AgeSeconds *int64     `json:"age_seconds"` // the same
	Path       string     `json:"path"`
	TTLSeconds int64      `json:"ttl_seconds"` // 0: it does not expire
	Ref        string     `json:"ref,omitempty"`
}

func (c *cli) holder(info lock.Info) *holder {
	h := &holder{
		ID: info.ID, Operation: printable(info.Operation), Info: printable(info.Info), Who: printable(info.Who),
		Version: printable(info.Version), Path: printable(info.Path), TTLSeconds: int64(info.TTL.Seconds()), Ref: info.Ref,
	}
	if !info.Created.IsZero() {
		age := int64(max(0, c.now().Sub(info.Created)).Seconds())
		h.Created, h.AgeSeconds = &info.Created, &age
	}
	return h
}

// report prints err, if there is one to print, and returns the exit code.
func (c *cli) report(err error) int {
	if err == nil {
		return 0
	}
	code := classify(err).code
	if errors.Is(err, syscall.EPIPE) {
		return exitBrokenPipe
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		if err = exit.error; err == nil {
			return code
		}
	}
	if c.json {
		enc := json.NewEncoder(c.stderr)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(struct {
			Error *problem `json:"error"`
		}{c.problem(err, code)})
		return code
	}
	c.explain(err)
	return code
}

func (c *cli) problem(err error, code int) *problem {
	p := &problem{Kind: classify(err).kind, ExitCode: code, Message: printable(err.Error()), Hint: c.hint(err)}
	if held, ok := errors.AsType[*lock.HeldError](err); ok {
		p.Workspace, p.Holder, p.LockID = held.Workspace, c.holder(held.Holder), held.Holder.ID
	}
	if unknown, ok := errors.AsType[*lock.UnknownError](err); ok {
		p.Workspace, p.LockID = unknown.Workspace, unknown.ID
	}
	if release, ok := errors.AsType[*lock.ReleaseError](err); ok {
		p.Workspace, p.LockID = release.Workspace, release.ID
	}
	if e, ok := errors.AsType[*backend.Error](err); ok {
		p.Workspace = cmp.Or(p.Workspace, e.Workspace)
	}
	if saved, ok := errors.AsType[*savedError](err); ok {
		p.SavedTo = saved.file
	}
	return p
}

// explain prints err for people.
func (c *cli) explain(err error) {
	text := wrap("statelatch: " + err.Error())
	if held, ok := errors.AsType[*lock.HeldError](err); ok && classify(err).code == exitHeld {
		text = wrap(fmt.Sprintf("statelatch: workspace %q is locked.", held.Workspace)) + c.describe(held.Holder)
		if held.Err != nil {
			text += hang("  Note       ", held.Err.Error())
		}
	}
	if hint := c.hint(err); hint != "" {
		text += wrap(hint)
	}
	if saved, ok := errors.AsType[*savedError](err); ok {
		text += wrap("What was on standard input is kept in " + saved.file + ".")
	}
	_, _ = io.WriteString(c.stderr, text) // there is nobody else to tell
}

// hint says what to do about err, or nothing.
func (c *cli) hint(err error) string {
	if h, ok := errors.AsType[*hintedError](err); ok {
		return h.hint
	}
	class := classify(err)
	if class.kind == "held" {
		return c.heldHint(err)
	}
	if unknown, ok := errors.AsType[*lock.UnknownError](err); ok {
		return fmt.Sprintf(`Run "%s" to make sure that the lock is not left behind.`, c.unlocking(unknown.Workspace, unknown.ID))
	}
	if release, ok := errors.AsType[*lock.ReleaseError](err); ok && !errors.Is(err, lock.ErrNotHeld) {
		return fmt.Sprintf(`The lock may still be there; run "%s".`, c.unlocking(release.Workspace, release.ID))
	}
	e, _ := errors.AsType[*backend.Error](err)
	changed, _ := errors.AsType[*tfconfig.ChangedError](err)
	switch {
	case changed != nil && changed.Shadowed != "":
		return "If the directory is Terraform's, say --program terraform."
	case class.kind == "usage":
		return fmt.Sprintf(`Run "%s --help".`, c.cmd.CommandPath())
	case class.kind == "permission" && c.cmd.Name() != "probe" && !as[*deniedError](err):
		return fmt.Sprintf(`Run "%s" to see what the credentials allow.`, c.other("probe", ""))
	case class.kind == "unknown" && e != nil && e.Op == "unlock":
		return fmt.Sprintf(`It may be released, or not. Run "%s".`, c.other("holder", e.Workspace))
	case class.kind == "unknown":
		return fmt.Sprintf(`It may have happened, or not. Run "%s" and look before you try again.`, c.other("pull", ""))
	case as[*statefile.LineageError](err) || as[*statefile.SerialError](err):
		return forceHint
	case class.kind == "conflict":
		return "Somebody else has written in between; nothing was changed. Start again from what is there now."
	case class.kind == "transient":
		return "Nothing was changed. Trying again may help."
	case errors.Is(err, backend.ErrNoStore):
		return "Create it first, or correct the configuration."
	}
	return ""
}

// forceHint is for a state that is not replaced by another.
const forceHint = "Nothing was changed. --force replaces it all the same."

func (c *cli) heldHint(err error) string {
	held, _ := errors.AsType[*lock.HeldError](err)
	id := held.Holder.ID
	switch own := id != "" && id == os.Getenv("STATELATCH_LOCK_ID"); {
	case own && !c.files && c.cmd.Flags().Lookup("lock-id") != nil:
		return `This very command runs under that lock: say --lock-id "$STATELATCH_LOCK_ID".`
	case own:
		return "This very command runs under that lock, and cannot use it: run it before or after."
	case c.files:
		return "Wait for it with --lock-timeout 5m. This lock ends with the process that holds it."
	}
	return "Wait for it with --lock-timeout 5m. If its holder is gone for good: " + c.unlocking(held.Workspace, id)
}

// unlocking is the command that releases a lock.
func (c *cli) unlocking(workspace, id string) string {
	return c.other("unlock "+printable(id), workspace)
}

// other is another command for the same workspace. The place is not repeated: a URL may
// have secrets in it.
func (c *cli) other(command, workspace string) string {
	workspace = cmp.Or(workspace, c.place.workspace)
	if workspace == "" || workspace == backend.DefaultWorkspace && c.place.workspace == "" {
		return "statelatch " + command
	}
	return "statelatch " + command + " --workspace " + printable(workspace)
}

// describe says who holds a lock, and for how long.
func (c *cli) describe(info lock.Info) string {
	since, expires := "", ""
	if !info.Created.IsZero() {
		since = fmt.Sprintf("%s (%s)", info.Created.UTC().Format("2006-01-02 15:04:05 UTC"), age(c.now().Sub(info.Created)))
	}
	if info.TTL > 0 {
		expires = info.TTL.String() + " after its last renewal"
	}
	var text strings.Builder
	for _, line := range []struct{ name, value string }{
		{"Who", info.Who}, {"Operation", info.Operation}, {"Since", since}, {"Info", info.Info}, {"Version", info.Version},
		{"Path", info.Path}, {"Expires", expires}, {"ID", info.ID}, {"Ref", info.Ref},
	} {
		if line.value != "" {
			fmt.Fprintf(&text, "  %-10s %s\n", line.name, printable(line.value))
		}
	}
	return text.String()
}

// fileError rewords the error of a file of the user's, which must not read as one of the
// service's, such as "no state".
func fileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &missingError{errors.New(strings.TrimPrefix(err.Error(), "open "))}
	case errors.Is(err, fs.ErrPermission):
		return &deniedError{errors.New(strings.TrimPrefix(err.Error(), "open "))}
	}
	return err
}
