// Package consul keeps states in Consul's key-value store, with the keys, formats
// and locks of Terraform's and OpenTofu's consul backend.
//
// # Keys
//
// The state of the default workspace is the key <path>, that of another
// <path>-env:<workspace>. Its revision is the key's modify index. Plain, gzipped and
// chunked states are read whatever the settings say, with consistent reads.
//
// A state that does not fit into one transaction (more than 387,072 bytes, since the
// server bounds its body to 512 KiB and the value travels in base64) is cut into
// chunks of 512 KiB. They are stored before the index that names them is, under names
// that no other write shares, and the chunks of the replaced state are deleted
// afterwards, each by its key, and only while the state's key does not name it. A
// crash in between, or a write whose outcome is unknown, may leave chunks that no
// index names: they do no harm, and are deleted by hand. A reader who finds a chunk
// gone reads the index again: somebody has replaced the state. The revision of a
// state in chunks ends in "c".
//
// # Locks
//
// The lock of a state is the key <state>/.lock, held by a session, and
// <state>/.lockinfo beside it; both are written in one transaction. The session's ID
// is the lock's ID, as in Terraform; the ID that the caller chose is kept in
// Info.Ref. A lock that was taken by Lock has a session without TTL and without
// checks, and outlives its process; it ends when the agent that it was made through
// leaves the cluster. lock.Acquire asks for one with a TTL of 15 s, as Terraform
// does, renews it, and is told at once if it is lost. Which TTLs there are the server
// says, 10 s to 24 h if nobody has configured it otherwise; it may let a session live
// up to twice its TTL. A process that dies between the two requests of Lock, or of
// Unlock, leaves a session that holds no lock.
//
// # Fence
//
// A Write or Delete with a LockID checks in its own transaction that the session
// still holds the lock: a holder that was deposed cannot write at all. So our
// sessions ask for a lock-delay of a millisecond, the shortest that there is, where
// Terraform's ask for 5 s: the delay protects a holder who does not know that it was
// deposed, and ours needs no protection. A waiter waits through Terraform's.
//
// # Unknown outcomes
//
// A state is known to be this very call's by the key's flags and its bytes, a lock by
// its session, a release by a token in the key <state>/.unlock-<ID>, which the session
// holds until it is destroyed, and takes along. A deletion leaves nothing: if its
// reply is lost and the state is gone, the outcome is unknown. So is that of a creation
// without LockID whose reply is lost and that is not there: it may have been there, and
// deleted since.
//
// # Permissions
//
//	Read, Stat, Holder, Wait, Watch, List   key_prefix read on <path>
//	Write, Delete                           key_prefix write on <path>
//	Lock, Unlock, Renew                     key_prefix write on <path>, session_prefix write on the agent's node
//
// Consul 1.14 or newer is needed, for an operation of its transactions.
package consul
