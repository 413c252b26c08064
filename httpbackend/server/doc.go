// Package server serves the states of any Backend by Terraform's HTTP state protocol:
// to every Terraform and OpenTofu, whose http backend it is made for, and to package
// httpbackend.
//
//	s, err := server.New(b, server.Options{Auth: server.Basic(passwords)})
//	…
//	err = s.Serve(ctx, listener)
//
// A Server is an [http.Handler]; below another path it is mounted with
// [http.StripPrefix]. In Terraform all addresses are the same:
//
//	backend "http" {
//	  address        = "https://states.example/prod"
//	  lock_address   = "https://states.example/prod"
//	  unlock_address = "https://states.example/prod"
//	}
//
// # Requests
//
// The path is the name of a workspace and nothing else; an address ends where the name
// does. Names are those of backend.CheckWorkspace, so that no path leads anywhere else.
//
//	GET      the state: 200, or 404 where there is none
//	POST     writes the state, as PUT does: 200
//	DELETE   removes the state: 200
//	LOCK     takes the lock; the body is the record: 200
//	UNLOCK   releases the lock whose record, or ID, is in the body: 200
//
// This is what Terraform and OpenTofu of every version send, and what their
// documentation of the http backend describes. While the lock is held, a write or a
// deletion carries ?ID=<the holder's>; any other is refused with 423 and the holder's
// record. One that carries the ID of a lock that is not held is refused with 409: a run
// whose lock was broken does not write over the one that came after it. Terraform
// then leaves its state in errored.tfstate.
//
// A refusal by the lock is 423 with the holder's record as JSON. Other refusals are 400
// for a malformed request, 401 and 403 for who may not, 404 for no state, 405 for
// another method, 408 for a body that does not arrive, 409 for a lock that is not
// held, 412 for a condition that does not hold, 413 for a state that is too large, 501
// for what the Backend cannot do, 503 (with Retry-After) for a temporary failure
// in which nothing was changed, and 500 for the rest: then the outcome is unknown, or
// the log has the cause. A damaged state is 500, and is not sent. Texts of the Backend
// stay in the log; the client gets the kind, and the ID of the request, which is in the
// log too (X-Request-Id).
//
// # force-unlock
//
// OpenTofu from 1.10 on sends the ID that was typed. Terraform, and earlier OpenTofu,
// send an UNLOCK with an empty body: nothing says which lock. Whoever types an old ID
// would break the lock of the next run. So that is refused, unless the operator has
// set Options.EmptyUnlock. There is a third way, which is safe: the ID may be in the
// query of unlock_address,
//
//	terraform init -reconfigure -backend-config=unlock_address=https://states.example/prod?ID=<ID>
//	terraform force-unlock <ID>
//
// # No lost update
//
// Terraform's writes name no revision. The server looks up the current one, then the
// lock, and then writes on that very revision, so that whoever broke the lock and wrote
// in between is not overwritten, on a Backend without fences either. A write
// without lock and revision (terraform -lock=false) replaces what is there, as everywhere.
// Each write so costs the Backend a Stat and a Holder more; one that names its
// revision costs a Holder.
//
// A write that meets another so is not made on top of it: it may be an old one, which
// waited in the store while Terraform got a 504 from a proxy, made it again, and wrote
// the next. It is 200 if what it would write is there, else 503, upon which who still
// waits asks again. A write that has waited so long that this Server has made one that
// came after it is answered in the same way, unless it has a token (below). What the
// server cannot know is that a request was already old when it came.
//
// A change goes on when its client goes away, for up to Options.Timeout. A LOCK that is
// the same as the holder's, in ID, user, operation and time, is that request again, whose
// reply was lost, and is granted again.
//
// # More than Terraform's protocol
//
// Each reply has the header Statelatch-Protocol: 1, by which a client knows that it may
// use what follows.
//
//   - ETag is the revision of the Backend, in base64 (URL, unpadded), quoted. GET, HEAD
//     and a write return it. If-Match: "tag", If-Match: * and If-None-Match: * are the
//     condition of a POST, PUT or DELETE; if it does not hold, 412. If-None-Match: "tag"
//     makes GET answer 304.
//   - HEAD returns the revision alone.
//   - GET /, the list: a JSON array of names.
//   - GET /NAME?lock, the holder: its record, or 404.
//   - LOCK takes a TTL, in whole seconds, in the record, where the Backend has such
//     locks; LOCK /NAME?renew&ID=… renews it. Both return the record as it is now.
//   - Statelatch-Call: a random token of one change, lock or unlock. The same request with
//     the same token is not done twice: it gets what came of the first, as long as this
//     Server remembers (the last 16,384).
//   - Statelatch-Error: the kind of a refusal: held, not-held, conflict, not-exist,
//     invalid, invalid-name, too-large, permission, corrupt, no-store, unsupported,
//     transient, unknown.
//   - Content-MD5 of a request, which Terraform sends, is compared; a state that is
//     returned has it.
//
// # Locks
//
// The lock is the Backend's own, so that it stops those who use the store directly, and
// they see who holds it. Where the service imposes an ID (Cloud Storage, Azure, Consul),
// the client's is kept with the lock, in Info.Ref, and the server takes both; what it
// shows is the store's. So it keeps nothing itself: a server that was restarted, and a
// second one beside it, go on where the first stopped. Only over package local do
// the locks end with the server, since they are the process's.
//
// It must be seen who holds a lock. Over a Backend that cannot tell (package httpbackend,
// of a plain server), LOCK is refused with 501, before anything is taken. The first LOCK
// finds that out, by one Holder more.
//
// # Who may do what
//
// Options.Auth is required, and Anonymous is a name that has to be written. Passwords
// and tokens are compared in constant time. Options.Authorize decides for each
// request: who may list sees all names, who may lock or write sees the holder.
//
// Bodies are limited in size before and while they are read, and in time; a reply that
// is not taken is cut off. [Server.Serve] limits headers, and idle connections in time; who
// uses a [http.Server] of his own sets its ReadHeaderTimeout and IdleTimeout. The
// log has neither queries nor headers.
package server
