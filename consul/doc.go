// Package consul keeps states in Consul's key-value store, with the keys, formats
// and locks of Terraform's and OpenTofu's consul backend.
//
// # Keys
//
// The state of the default workspace is the key <path>, that of another
// <path>-env:<workspace>. Its revision is the key's modify index. Plain, gzipped and
// chunked states are read whatever the settings say, with consistent reads.
//
// A state that does not fit into one transaction (about 384 KB, since the server
// bounds its body to 512 KiB and the value travels in base64) is cut into chunks of
// 512 KiB. They are stored before the index that names them is, under names that no
// other write shares, and the chunks of the replaced state are deleted afterwards,
// each by its key. A crash in between leaves chunks that no index names: they do no
// harm, and are deleted by hand. A reader who finds a chunk gone reads the index
// again: somebody has replaced the state.
//
// # Locks
//
// The lock of a state is the key <state>/.lock, held by a session, and
// <state>/.lockinfo beside it; both are written in one transaction. The session's ID
// is the lock's ID, as in Terraform; the ID that the caller chose is kept in
// Info.Ref. A lock that was taken by Lock has a session without TTL and without
// checks, and outlives its process and its node. lock.Acquire asks for one with a
// TTL of 15 s, as Terraform does, and renews it. Other TTLs go from 10 s to 24 h;
// Consul may let a session live up to twice its TTL.
//
// # Fence
//
// A Write or Delete with a LockID checks in its own transaction that the session
// still holds the lock: a holder that was deposed cannot write at all.
//
// When a session dies, or is destroyed by Terraform's force-unlock, Consul keeps
// the lock from everybody for 5 s more (its lock-delay). Unlock does not cause it.
//
// # Permissions
//
//	Read, Stat, Holder, List   key_prefix read on <path>
//	Write, Delete              key_prefix write on <path>
//	Lock, Unlock, Renew        key_prefix write on <path>, session write
package consul
