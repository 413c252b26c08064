package lock

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Version is what NewInfo writes into Info.Version.
const Version = "statelatch 0.1.0"

// MaxInfo is the longest lock record that is read, in bytes.
const MaxInfo = 64 << 10

// unreadable begins the ID of a lock whose record cannot be read.
const unreadable = "unreadable-"

// Info describes a lock and its holder: the record that Terraform, OpenTofu and
// this module leave beside a state.
//
// Its JSON is byte for byte that of Terraform: the first seven names in that
// order, always all seven, compact, HTML characters escaped, Created in UTC with
// the trailing zeros of its fraction cut (RFC 3339). TTL, in whole seconds, and
// Ref follow only when they are set; Terraform and OpenTofu ignore them.
type Info struct {
	ID        string    // what Unlock and force-unlock take
	Operation string    // what the holder does: "OperationTypeApply", "state-push", …
	Info      string    // free text
	Who       string    // user@host
	Version   string    // the holder's program and its version
	Created   time.Time // when the lock was asked for, by the holder's clock
	Path      string    // where the state is, as the service names it

	// TTL is how long the lock lasts after its last renewal, in whole seconds; 0
	// means that it does not expire. Age is judged by the server's time of the last
	// write, never by a client's clock.
	TTL time.Duration
	// Ref is the caller's own ID where the service imposes another (GCS, Consul).
	Ref string
}

// NewInfo returns the Info of a lock for operation, taken now by this user on
// this host, with a fresh ID.
func NewInfo(operation string) Info {
	return Info{
		ID:        NewID(),
		Operation: operation,
		Who:       who(),
		Version:   Version,
		Created:   time.Now().UTC(),
	}
}

// NewID returns a random ID of 32 hexadecimal digits, grouped as a UUID is: the
// form that Azure needs for a lease ID.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func who() string {
	name, host := "", ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// ParseInfo reads a lock record. It does not fail: a record that cannot be read
// (empty, longer than MaxInfo, not a lock record, without an ID) gives an Info
// whose ID is "unreadable-" and fingerprint, and whose Info says what is wrong.
// fingerprint names the stored object as it is now (its ETag, generation or
// digest), so that Unlock with that ID, which compares the ID of what it finds,
// breaks that very object and no later one.
//
// The query is cut from a Path that is an http URL: it may hold a signature.
func ParseInfo(record []byte, fingerprint string) Info {
	var info Info
	err := errors.New("it is empty")
	switch {
	case len(record) > MaxInfo:
		err = fmt.Errorf("it has %d bytes, at most %d are read", len(record), MaxInfo)
	case len(record) > 0:
		// The decoder's own error may quote what is stored.
		if err = nil; json.Unmarshal(record, &info) != nil {
			err = errors.New("it is not the JSON of a lock")
		} else if info.ID == "" {
			err = errors.New("it has no ID")
		}
	}
	if err != nil {
		return Info{ID: unreadable + fingerprint, Info: "the lock record cannot be read: " + err.Error()}
	}
	return info
}

// wire is Info as it is stored.
type wire struct {
	ID, Operation, Info, Who, Version string
	Created                           time.Time
	Path                              string
	TTL                               json.RawMessage `json:",omitempty"`
	Ref                               json.RawMessage `json:",omitempty"`
}

// MarshalJSON implements [json.Marshaler]. A TTL that is negative or not in whole
// seconds is an error.
func (i Info) MarshalJSON() ([]byte, error) {
	w := wire{i.ID, i.Operation, i.Info, i.Who, i.Version, i.Created.UTC(), i.Path, nil, nil}
	if i.TTL < 0 || i.TTL%time.Second != 0 {
		return nil, fmt.Errorf("lock TTL %s is not in whole seconds", i.TTL)
	}
	if i.TTL > 0 {
		w.TTL = fmt.Append(nil, int64(i.TTL/time.Second))
	}
	if i.Ref != "" {
		w.Ref, _ = json.Marshal(i.Ref) // a string never fails
	}
	return json.Marshal(w)
}

// Record returns i as it is stored: its JSON, if ParseInfo reads the same lock from that.
// If not, the lock could not be released by its ID; so the error says what is wrong.
func (i Info) Record() ([]byte, error) {
	record, err := i.MarshalJSON()
	switch {
	case err != nil:
		return nil, err
	case i.ID == "":
		return nil, errors.New("a lock needs an ID")
	case !utf8.ValidString(i.ID + i.Ref):
		return nil, errors.New("the ID of a lock is text in UTF-8")
	case len(record) > MaxInfo:
		return nil, fmt.Errorf("the lock's record has %d bytes, at most %d are read", len(record), MaxInfo)
	}
	return record, nil
}

// UnmarshalJSON implements [json.Unmarshaler]. It ignores unknown names, as
// Terraform does, and a TTL or Ref of another shape than ours: a lock then counts
// as one that does not expire.
func (i *Info) UnmarshalJSON(data []byte) error {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*i = Info{w.ID, w.Operation, w.Info, w.Who, w.Version, w.Created, withoutQuery(w.Path), 0, ""}
	var seconds int64
	if json.Unmarshal(w.TTL, &seconds) == nil && seconds > 0 && seconds <= math.MaxInt64/int64(time.Second) {
		i.TTL = time.Duration(seconds) * time.Second
	}
	if json.Unmarshal(w.Ref, &i.Ref) != nil {
		i.Ref = ""
	}
	return nil
}

func withoutQuery(path string) string {
	if !strings.HasPrefix(path, "http://") && !strings.HasPrefix(path, "https://") {
		return path
	}
	path, _, _ = strings.Cut(path, "?")
	if u, err := url.Parse(path); err != nil || u.User != nil {
		return u.Redacted() // "" where the URL is none
	}
	return path
}

// String describes the holder on one line, for people. Control characters in
// what was stored are left out.
func (i Info) String() string {
	s := i.Who
	if s == "" || s == "@" {
		s = "an unknown holder"
	}
	for _, part := range []struct{ name, value string }{
		{"operation", i.Operation}, {"info", i.Info}, {"version", i.Version}, {"path", i.Path},
	} {
		if part.value != "" {
			s += ", " + part.name + " " + part.value
		}
	}
	if !i.Created.IsZero() {
		s += ", since " + i.Created.UTC().Format(time.RFC3339)
	}
	if i.TTL > 0 {
		s += ", for " + i.TTL.String() + " after each renewal"
	}
	return printable(s + ", ID " + i.ID)
}

// printable drops what could move a terminal's cursor or hide text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}
