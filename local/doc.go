// Package local keeps states in files, where and as Terraform and OpenTofu keep
// theirs: both may use the same files at the same time.
//
// # Files
//
// The default workspace is the file Config.Path, any other is
// WorkspaceDir/NAME/terraform.tfstate. An empty file is no state; a directory of
// a workspace without one still is a workspace, and listed. Beside a state file:
//
//   - .terraform.tfstate.lock.info: who holds the lock, as Terraform writes it, with
//     the process ID added
//   - .terraform.tfstate.journal: ours; empty but during a write
//   - terraform.tfstate.backup: what the last change replaced; see Config.NoBackup
//   - terraform.tfstate.interrupted-…: see below
//
// New files have mode 0600 and new directories 0700, for states hold secrets;
// Terraform makes 0644 and 0755. What is made beside an existing state belongs to the
// owner of that, as far as the process may give it away, and the journal has its mode
// too: who may read or write the state needs the journal for it. An existing file keeps
// its mode and owner, a symbolic link is followed. Read, Stat, List and Holder change
// nothing, and work on a read-only file system.
//
// On a file system that ignores case, two workspaces whose names differ in case
// alone would be one; of the two only the one that has the directory is accepted,
// the other is [backend.ErrInvalidName]. Windows also refuses its device names,
// colons and trailing dots.
//
// # Writes
//
// Terraform's lock is on the state file itself, and a Terraform that waits for it
// has the file open: had we put a new file in its place, that Terraform would write
// to the old one and lose its work. So a state is written in place, and a journal
// makes the write atomic: the new state goes to the journal first, together with a
// digest of every 512 bytes that it replaces; then over the state file; then the
// journal is emptied, each step safely on disk before the next. For the same reason
// no state file is ever removed, be it by Delete or by the release of a lock that
// had made it: it is left empty.
//
// While a state file is being overwritten, its first byte is zero: a state that is
// half old and half new could otherwise pass for a whole one. Terraform refuses to
// read such a file.
//
// After a crash in between, the file has that mark (or, if the system itself went
// down, any mixture), and the journal says of each block whether it is as before or
// as after the write. Then Read returns the new state, and the next Lock, Write or
// Delete finishes the write; only from then on does Terraform see it. If the file is
// anything else, some other program has written since: its state stays, and ours is
// kept in a file whose name goes on with .interrupted-, the time of the write and the
// beginning of its digest.
//
// The revision of a state is the SHA-256 of its bytes, so writing what is already
// there changes nothing.
//
// Terraform writes in place too, without a journal. A Read waits until a write of
// its own is over; where Terraform holds the lock and has emptied a state that was
// there, it waits up to 5 s, or until its context ends, for the next.
//
// # Locks
//
// A lock belongs to the Backend that took it, and ends with its Close or with the
// process, however that ends; no other process and no other Backend can release it
// (terraform force-unlock cannot either). It excludes other processes, other
// goroutines, and Terraform. A write without a lock takes the lock for as long as
// the write lasts, so it fails with a *lock.HeldError while somebody holds it.
// There are no locks with a TTL.
//
// On Linux a lock is an open-file-description lock. macOS and the BSDs have none:
// there it is flock, which excludes Terraform's locks too. On Windows it is
// LockFileEx, which is mandatory: nobody else can even read a locked state. The code
// for those systems is compiled and vetted with every change, but not run. Neither
// kind of lock is reliable on every network file system.
package local
