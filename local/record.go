package local

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// noPID stands for the holder of a lock that names no process: every lock but the
// POSIX lock that Terraform takes.
const noPID = -1

// patience is how many times something that passes is looked at: in all for 20 ms.
const patience = 8

// A process is what we add to a lock record, for whoever wants to end the holder.
// Terraform passes over it, as over all names that it does not know.
type process struct{ PID int }

// String returns the process as part of a sentence.
func (p process) String() string {
	if p.PID <= 0 {
		return ""
	}
	return fmt.Sprintf(" (process %d)", p.PID)
}

// record writes the lock record. It need not survive a crash: nor does the lock.
func (h *held) record() error {
	record, err := h.info.Record()
	if err != nil {
		return fmt.Errorf("%w: %w", backend.ErrInvalid, err)
	}
	ours, _ := json.Marshal(process{os.Getpid()}) // a number never fails
	record = append(append(record[:len(record)-1], ','), ours[1:]...)
	if len(record) > lock.MaxInfo {
		return fmt.Errorf("%w: a lock record of %d bytes, at most %d are read", backend.ErrInvalid, len(record), lock.MaxInfo)
	}
	// What a dead run left may be another user's, who need not let us write to it.
	_ = os.Remove(h.files.info)
	f, err := os.OpenFile(h.files.info, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, newFile)
	if err != nil {
		return err
	}
	defer f.Close()
	giveTo(f, h.id)
	_, err = f.Write(record)
	return err
}

// A holder is who holds a lock.
type holder struct {
	lock.Info
	process
}

// holder returns who has locked the state file. The lock tells, not the record,
// which a crash may have left.
func (b *Backend) holder(ctx context.Context, paths files) (holder, error) {
	return waitFor(ctx, paths.state, func() (holder, error) {
		guard, err := shareGuard(ctx, paths.journal)
		if err != nil {
			return holder{}, err
		}
		defer dropGuard(guard)
		by, err := paths.holder(ctx)
		// Without a guard, it may have been somebody who writes.
		return by, errors.Join(err, paths.stillUnguarded(guard))
	})
}

// holder is [Backend.holder] for who has the guard.
func (p files) holder(ctx context.Context) (holder, error) {
	file, err := os.Open(p.state)
	if errors.Is(err, fs.ErrNotExist) {
		return holder{}, lock.ErrNotHeld
	}
	if err != nil {
		return holder{}, err
	}
	defer file.Close()
	attempt := 0
	return waitFor(ctx, p.state, func() (holder, error) {
		pid, locked, err := lockedBy(file)
		if err == nil && !locked {
			err = lock.ErrNotHeld
		}
		if err != nil {
			return holder{}, err
		}
		by, readable := p.readRecord()
		if pid != noPID && by.PID != 0 { // a record of ours, which a crash has left: we take no such lock
			by, readable = parseRecord(nil)
		}
		if pid != noPID {
			by.PID = pid
		}
		if pid != noPID && !readable {
			by.Who = fmt.Sprintf("process %d", pid)
		}
		// A holder writes the record after it has the lock, and removes it before.
		if attempt++; !readable && attempt < patience {
			err = errUnsettled
		}
		return by, err
	})
}

// readRecord returns what the lock record says, and whether it could be read.
func (p files) readRecord() (by holder, readable bool) {
	var record []byte
	if f, err := os.Open(p.info); err == nil {
		defer f.Close()
		record, _ = io.ReadAll(io.LimitReader(f, lock.MaxInfo+1)) // what is missing makes it unreadable
	}
	return parseRecord(record)
}

func parseRecord(record []byte) (by holder, readable bool) {
	fingerprint := fmt.Sprintf("%x", sha256.Sum256(record))[:16]
	by.Info = lock.ParseInfo(record, fingerprint)
	_ = json.Unmarshal(record, &by.process) // as far as it is there
	return by, by.ID != "unreadable-"+fingerprint
}
