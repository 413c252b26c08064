package local

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"sync"
)

// A journal file at rest is empty. During a write it has the new state, the marks
// of the blocks that it replaces, and a footer. Since the footer vouches for all of
// it, a journal that was not written to its end is none.

// blockSize is the unit in which a disk may have written, or not, when the power
// goes.
const blockSize = 512

// markSize is the length of a mark.
const markSize = 8

// underWay stands in the place of a state's first byte while the rest is being
// overwritten. Whoever else writes the file meanwhile, writes that byte too: so a
// mixture of old and new blocks is told from a state that happens to look like one.
// And Terraform refuses a state that begins with it, instead of reading a mixture.
const underWay = 0

type digest [sha256.Size]byte

// A footer ends a journal. Its fields have a fixed size, for encoding/binary.
type footer struct {
	OldSize, NewSize int64
	Old, New         digest // of the whole states
	OldFirst         uint8  // the first byte of the old state
	Boot             digest // names this run of the system; zero if nothing does
	Check            digest // of the marks, and of this footer with Check left zero
	Magic            [16]byte
}

// magic ends with the version of the format.
var magic = [16]byte([]byte("statelatch-jrn-1"))

var errLaterVersion = errors.New("a write was cut short whose journal is of a later version than this program: let that version finish it")

var footerSize = int64(binary.Size(footer{}))

// A journal is one that was written to its end.
type journal struct {
	footer
	file io.ReaderAt // the new state, then the marks of the blocks of the old
}

// blockEnd returns where the block that begins at start ends. Blocks end at
// multiples of blockSize, at size, and at cut: the smaller of the old and the new
// size, since a write may have got to its end and not cut off what is behind.
func blockEnd(start, cut, size int64) int64 {
	end := min(start-start%blockSize+blockSize, size)
	if start < cut {
		end = min(end, cut)
	}
	return end
}

// blocks returns how many blocks blockEnd makes of size bytes.
func blocks(cut, size int64) int64 {
	n := size / blockSize
	if size%blockSize != 0 {
		n++
	}
	if 0 < cut && cut < size && cut%blockSize != 0 {
		n++
	}
	return n
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendMark appends the mark of a block. Two checksums by polynomials without a
// common factor are one of 64 bits.
func appendMark(marks, block []byte) []byte {
	marks = binary.BigEndian.AppendUint32(marks, crc32.Checksum(block, castagnoli))
	return binary.BigEndian.AppendUint32(marks, crc32.ChecksumIEEE(block))
}

// A marker makes the marks of what is written to it, in pieces of whole blocks.
type marker struct {
	cut, size int64
	at        int64
	first     byte // of all that is written
	marks     []byte
}

func (m *marker) Write(p []byte) (int, error) {
	if m.at == 0 && len(p) > 0 {
		m.first = p[0]
	}
	for rest := p; len(rest) > 0; {
		n := blockEnd(m.at, m.cut, m.size) - m.at
		m.marks = appendMark(m.marks, rest[:n])
		rest = rest[n:]
		m.at += n
	}
	return len(p), nil
}

// check returns what Check has to be.
func (f footer) check(marks io.Reader) (digest, error) {
	f.Check = digest{}
	h := sha256.New()
	if _, err := io.Copy(h, marks); err != nil {
		return digest{}, err
	}
	err := binary.Write(h, binary.BigEndian, f)
	return digest(h.Sum(nil)), err
}

// tail returns the marks and the footer, as they follow the new state.
func (f footer) tail(marks []byte) (tail []byte, err error) {
	f.Magic = magic
	if f.Check, err = f.check(bytes.NewReader(marks)); err != nil {
		return nil, err
	}
	return binary.Append(marks, binary.BigEndian, f)
}

func (f footer) cut() int64       { return min(f.OldSize, f.NewSize) }
func (f footer) markBytes() int64 { return markSize * blocks(f.cut(), f.OldSize) }

// readJournal returns the journal in file, or nil if there is none. It needs no
// memory to speak of, whatever is in file.
func readJournal(file io.ReaderAt, size int64) (*journal, error) {
	j := &journal{file: file}
	if size < footerSize {
		return nil, nil
	}
	err := binary.Read(io.NewSectionReader(file, size-footerSize, footerSize), binary.BigEndian, &j.footer)
	if err != nil {
		return nil, err
	}
	if j.Magic != magic {
		if bytes.HasPrefix(j.Magic[:], magic[:len(magic)-1]) {
			return nil, errLaterVersion
		}
		return nil, nil
	}
	rest := size - footerSize - j.NewSize
	if j.OldSize < 0 || j.NewSize <= 0 || rest < 0 || rest != j.markBytes() {
		return nil, nil
	}
	if check, err := j.check(j.marks()); err != nil || check != j.Check {
		return nil, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, j.state()); err != nil || digest(h.Sum(nil)) != j.New {
		return nil, err
	}
	return j, nil
}

func (j *journal) state() io.Reader { return section(j.file, 0, j.NewSize) }
func (j *journal) marks() io.Reader { return section(j.file, j.NewSize, j.markBytes()) }

// section reads size bytes of file from start on, many at a time.
func section(file io.ReaderAt, start, size int64) io.Reader {
	return bufio.NewReaderSize(io.NewSectionReader(file, start, size), int(min(size, bufferSize)))
}

// A verdict says what a state file is, as seen from a journal.
type verdict int

const (
	foreign   verdict = iota // another program has written it since
	untouched                // the write has not begun
	torn                     // the write has begun, and not ended
	complete                 // the write has ended
)

// judge compares the state file with what the journal says of it.
func (j *journal) judge(file io.ReaderAt, size int64) (verdict, error) {
	h := sha256.New()
	ours, marked, err := j.compare(io.TeeReader(section(file, 0, size), h), size)
	sum := digest(h.Sum(nil))
	switch {
	case err != nil:
		return foreign, err
	case size == j.NewSize && sum == j.New:
		return complete, nil
	case size == j.OldSize && sum == j.Old:
		return untouched, nil
	case ours && (marked || j.powerLost()):
		return torn, nil
	}
	return foreign, nil
}

// powerLost reports whether the system may have stopped during the write: then its
// pieces have got to the disk in any order, underWay before the others or not.
func (j *journal) powerLost() bool { return j.Boot == digest{} || j.Boot != boot() }

// boot names this run of the system, where it has a name (Linux).
var boot = sync.OnceValue(func() digest {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return digest{}
	}
	return sha256.Sum256(id)
})

// compare reports whether a moment of our write leaves the state file like this, and
// whether it is marked by underWay. It reads all of it.
func (j *journal) compare(file io.Reader, size int64) (ours, marked bool, err error) {
	// A write overwrites, and then grows or cuts; it never empties the file first.
	ours = j.cut() <= size && size <= max(j.OldSize, j.NewSize)
	state, marks := j.state(), j.marks()
	var is, next [blockSize]byte
	var sum, was [markSize]byte
	for start, end := int64(0), int64(0); start < size; start = end {
		end = blockEnd(start, j.cut(), size)
		block := is[:end-start]
		if _, err := io.ReadFull(file, block); err != nil {
			return false, false, err
		}
		n, err := readUpTo(state, next[:len(block)])
		if err != nil {
			return false, false, err
		}
		mark := start == 0 && block[0] == underWay
		marked = marked || mark
		if mark {
			block[0] = next[0]
		}
		known := bytes.Equal(block, next[:n])
		if mark {
			block[0] = j.OldFirst
		}
		if start >= j.OldSize {
			known = known || allZero(block) // not written yet, where the file has grown
		} else {
			if _, err := io.ReadFull(marks, was[:]); err != nil {
				return false, false, err
			}
			same := bytes.Equal(appendMark(sum[:0], block), was[:])
			known = known || same && end == blockEnd(start, j.cut(), j.OldSize)
		}
		ours = ours && known
	}
	return ours, marked, nil
}

// readUpTo fills buf, or as much of it as there is to read.
func readUpTo(r io.Reader, buf []byte) (int, error) {
	n, err := io.ReadFull(r, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

func allZero(block []byte) bool { return len(bytes.Trim(block, "\x00")) == 0 }
