// Package httpbackend keeps a state behind Terraform's HTTP state protocol, as
// Terraform's and OpenTofu's http backend does: a client of GitLab's states, of any
// of the many small servers, or of this module's own, package httpbackend/server.
//
// # Requests
//
// A state is read with GET, written with POST (or update_method) and deleted with
// DELETE on its address; it is locked with LOCK on lock_address, which carries the
// lock record that Terraform sends, and unlocked with UNLOCK on unlock_address. A
// write and a deletion under a lock carry the parameter ID=<lock ID>, by which the
// server can refuse a holder that was deposed. The protocol is documented by
// Terraform and by OpenTofu for their http backends.
//
// Redirects are followed on the same host only, and where they keep the method: a
// POST that a redirect turns into a GET looks like a write that succeeded.
//
// # Workspaces
//
// The protocol has none, so here there is the default workspace only; another is
// errors.ErrUnsupported. But the address may end in {workspace}, as in
//
//	https://states.example/{workspace}
//
// where lock_address and unlock_address hold {workspace} too. Then each workspace has
// its own URL, on any server.
//
// # Two kinds of server
//
// The server of this module says in every reply that it is that (see package
// httpbackend/server); the client finds it out by use. With it, everything of the
// contract holds: a revision is that of the Backend behind the server and crosses the
// wire as an ETag, a write is one request with If-Match or If-None-Match, Holder and
// List work, locks may have a TTL where that Backend's may, and a change whose reply
// was lost is made again with the token of the call, by which the server tells it
// from another. If the server was restarted just then, the outcome is ErrUnknown.
// A reply that does not say so any longer, such as a proxy's page to log in, is not
// believed: a change is made again or ErrUnknown, a read ErrTransient. Of a damaged
// state (ErrCorrupt) nothing comes: it is to be read at the store, past the server.
//
// Any other server is a plain one. What is weaker there:
//
//   - A revision is the SHA-256 of the content. A write with a condition reads first and
//     compares; a strong ETag of that reply goes into If-Match, but whether it is
//     honoured cannot be known. Where it is not, a writer may come in between: only
//     the lock keeps it away. Every write with a condition costs that read.
//   - A write whose reply was lost, or that is refused by 412, since it may have been
//     delivered twice, is found out by a read. Equal bytes are this call's if it holds
//     the lock, and else ErrUnknown; a write with AnyRevision and an unlock are never
//     made again.
//   - Whether the lock's ID is compared, at a write or at an unlock, is the server's
//     affair. Holder is errors.ErrUnsupported, and so is a lock with a TTL, and List
//     where the address has {workspace}.
//
// The first write of a process costs a read on either kind, unless something was
// asked before.
//
// # Locks
//
// The ID of a lock is made anew for each call of Lock, and the caller's own kept in
// Info.Ref, so that a refusal by the lock that this very call has taken, its first
// reply lost, is known for what it is. Our server over a store that imposes IDs of its
// own (Cloud Storage, Azure, Consul) returns the store's, and takes both.
//
// Without lock_address nothing is locked, as in Terraform. With lock_address alone,
// locks are taken, and Unlock is errors.ErrUnsupported: Terraform leaves them too.
//
// # Repetition
//
// retry_max, retry_wait_min and retry_wait_max are honoured, and Retry-After, by
// package settle alone: a client that repeats by itself, as Terraform's does, meets
// its own lock and its own write, and takes them for another's.
//
// # Errors
//
// 404 to a change is ErrNoStore, 401 and 403 are ErrPermission, 412 is ErrConflict, 413
// is ErrTooLarge, 409 and 423 are a *lock.HeldError with the holder in the body, 429
// is ErrTransient. Another 5xx to a change leaves its outcome in doubt. No error shows a
// query, a header, or what is before the @ of a URL.
package httpbackend
