package local

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
)

// journalFor returns the journal of a write of next over old.
func journalFor(old, next []byte) []byte {
	m := &marker{cut: int64(min(len(old), len(next))), size: int64(len(old))}
	m.Write(old)
	f := footer{OldSize: int64(len(old)), NewSize: int64(len(next)), Old: sha256.Sum256(old), New: sha256.Sum256(next), OldFirst: m.first}
	tail, err := f.tail(m.marks)
	if err != nil {
		panic(err) // it hashes memory
	}
	return append(bytes.Clone(next), tail...)
}

// interrupted returns a state file as the write of next over old may leave it when
// the power goes: each block is as choices say, and so is the size.
func interrupted(old, next, choices []byte) []byte {
	choice := func(of int) int {
		if len(choices) == 0 {
			return 0
		}
		c := int(choices[0])
		choices = choices[1:]
		return c % of
	}
	cut := min(len(old), len(next))
	size := []int{len(old), len(next), cut + choice(256)*(max(len(old), len(next))-cut)/255}[choice(3)]
	if len(next) < len(old) && size != len(next) {
		size = len(old) // what is to be cut off goes at once
	}
	var state []byte
	for len(state) < size {
		start := len(state)
		end := int(blockEnd(int64(start), int64(cut), int64(size)))
		var may [][]byte
		if end <= len(old) {
			may = append(may, old[start:end])
		}
		if end <= len(next) {
			may = append(may, next[start:end])
		}
		if start >= len(old) {
			may = append(may, make([]byte, end-start))
		}
		state = append(state, may[choice(len(may))]...)
	}
	return state
}

// ours reports, from the states themselves, whether a write of next over old may
// have left such a state file.
func ours(state, old, next []byte) bool {
	cut := min(len(old), len(next))
	if len(state) < cut || len(state) > max(len(old), len(next)) {
		return false
	}
	for start, end := 0, 0; start < len(state); start = end {
		end = int(blockEnd(int64(start), int64(cut), int64(len(state))))
		block, was, is := state[start:end], old[min(start, len(old)):min(end, len(old))], next[min(start, len(next)):min(end, len(next))]
		if start == 0 && block[0] == underWay { // then that byte tells nothing
			block, was, is = block[1:], was[min(1, len(was)):], is[min(1, len(is)):]
		}
		wasOld := end <= len(old) && bytes.Equal(block, was) && int64(end) == blockEnd(int64(start), int64(cut), int64(len(old)))
		isNew := end <= len(next) && bytes.Equal(block, is)
		if !wasOld && !isNew && (start < len(old) || !allZero(block)) {
			return false
		}
	}
	return true
}

func judged(t *testing.T, journal, state []byte) verdict {
	t.Helper()
	j, err := readJournal(bytes.NewReader(journal), int64(len(journal)))
	if err != nil || j == nil {
		t.Fatalf("the journal is none: %v", err)
	}
	v, err := j.judge(bytes.NewReader(state), int64(len(state)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func checkRecovery(t *testing.T, old, next, choices []byte) {
	t.Helper()
	if len(next) == 0 {
		return // Write refuses it
	}
	journal, state := journalFor(old, next), interrupted(old, next, choices)
	want := torn
	switch {
	case bytes.Equal(state, next):
		want = complete
	case bytes.Equal(state, old):
		want = untouched
	}
	if got := judged(t, journal, state); got != want {
		t.Errorf("%d over %d bytes, %d there: verdict %d, want %d", len(next), len(old), len(state), got, want)
	}
	// And when another program has written something since.
	for _, c := range choices[:min(8, len(choices))] {
		if len(state) > 0 {
			state[int(c)*(len(state)-1)/255] ^= c
		}
		mine := ours(state, old, next)
		if got := judged(t, journal, state); mine != (got != foreign) {
			t.Errorf("%d over %d bytes, changed since: verdict %d, ours: %t", len(next), len(old), got, mine)
		}
	}
}

func FuzzRecovery(f *testing.F) {
	f.Fuzz(checkRecovery)
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	sizes := []int{0, 1, 511, 512, 513, 1000, 1024, 5000, 5120}
	random := rand.New(rand.NewPCG(1, 2))
	for _, old := range sizes {
		for _, next := range sizes {
			for range 20 {
				choices := make([]byte, 12)
				for i := range choices {
					choices[i] = byte(random.Uint32())
				}
				checkRecovery(t, document(old), document(next), choices)
				similar := bytes.Repeat([]byte("as before\n"), 1000)
				checkRecovery(t, similar[:old], similar[:next], choices)
			}
		}
	}
}

// checkJournal reads any bytes as a journal, beside any state: the outcome is that
// state, or one that the journal vouches for.
func checkJournal(t *testing.T, journal, state []byte) {
	j, err := readJournal(bytes.NewReader(journal), int64(len(journal)))
	if err != nil && !errors.Is(err, errLaterVersion) {
		t.Errorf("%v from bytes in memory", err)
	}
	if j == nil {
		return
	}
	if sum := sha256.Sum256(journal[:j.NewSize]); sum != j.New {
		t.Error("the journal's new state is not what it says")
	}
	if _, err := j.judge(bytes.NewReader(state), int64(len(state))); err != nil {
		t.Errorf("%v from bytes in memory", err)
	}
}

func FuzzJournal(f *testing.F) {
	whole := journalFor(document(700), document(1300))
	f.Add(whole, document(700))
	f.Add(whole[1:], document(700))
	f.Add(whole[:len(whole)-1], document(700))
	f.Add(append(bytes.Clone(whole), 0), document(700))
	for _, at := range []int{0, 1300, 1310, len(whole) - int(footerSize), len(whole) - int(footerSize) + 7, len(whole) - 17, len(whole) - 1} {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x80
		f.Add(damaged, document(1300))
	}
	f.Fuzz(checkJournal)
}

// TestDamagedJournal: one that has a byte changed, or cut off, or added, is none.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	whole := journalFor(document(700), document(1300))
	none := func(journal []byte, how string, at int) {
		if j, err := readJournal(bytes.NewReader(journal), int64(len(journal))); j != nil || err != nil {
			t.Errorf("%s at %d: %+v, %v", how, at, j, err)
		}
	}
	for at := range whole {
		damaged := bytes.Clone(whole)
		if damaged[at] ^= 1 << (at % 8); at < len(whole)-1 {
			none(damaged, "changed", at)
		} else if _, err := readJournal(bytes.NewReader(damaged), int64(len(damaged))); err != errLaterVersion {
			t.Errorf("the journal of another version: %v", err)
		}
		none(whole[:at], "cut", at)
		none(whole[at+1:], "begun", at+1)
	}
	none(append(bytes.Clone(whole), 0), "added", len(whole))
}

// TestJournalOfVersion1: what an earlier version has left can be finished. Its
// journals replaced document(700) by document(1300).
func TestJournalOfVersion1(t *testing.T) {
	t.Parallel()
	journal, err := os.ReadFile("testdata/journal-1")
	if err != nil {
		t.Fatal(err)
	}
	if got := judged(t, journal, append(document(1300)[:512], document(700)[512:]...)); got != torn {
		t.Errorf("verdict %d", got)
	}
	if !bytes.Equal(journal, journalFor(document(700), document(1300))) {
		t.Error("journals are written differently now: give them another magic, and go on reading these")
	}
}
