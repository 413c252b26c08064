// Package gcs keeps states in Google Cloud Storage, with the objects and locks of
// Terraform's and OpenTofu's gcs backend.
//
// # Objects
//
// The state of every workspace, the default one included, is the object
// <prefix>/<workspace>.tfstate. Its revision is its generation, which no two values
// share. It is read with one GET, from whose reply the generation comes too, and
// written with one upload that has no parts, on the generation that it replaces.
// Content types are those that Terraform leaves; the one thing that is added is an
// item of metadata, statelatch-call, which tells this package its own uploads when
// a reply was lost.
//
// # Locks
//
// The lock is the object <prefix>/<workspace>.tflock, created on generation 0: it
// must not exist. Its generation, in decimal, is the lock's ID, as in Terraform, also
// where its record cannot be read; the ID that the caller chose is kept in Info.Ref.
// The lock object is encrypted with neither of the configured keys, as in Terraform.
// A lock cannot carry a TTL: the client library does not show the server's clock.
//
// Unlock also takes the caller's own ID, since it is all that is known of a lock
// whose creation was left in doubt.
//
// # Doubt
//
// Nothing tells an object that was never created from one that was deleted. So a
// creation, of a state or of a lock, whose reply is lost is made again if nothing is
// there: should somebody have deleted or broken what it had made, in just that
// moment, it is there again. And a deletion, or an Unlock, whose reply is lost and
// that finds nothing is reported as ErrUnknown.
//
// # Errors
//
// A missing bucket is ErrNoStore, not ErrNotExist. What the service answers to a GET
// of an object does not reach this package, so the first time that a process finds
// no object it asks once more, unless it knows by then that there is a bucket.
//
// A 404 without what Cloud Storage says in one, such as the page of a proxy, does not
// read as "there is no state" or "nobody holds the lock", and no redirect is followed. A
// Client that New was given decides by itself about redirects, and of a 404 to the GET of
// an object it hides all but the number.
//
// Cloud Storage allows about one change a second of one object; what it refuses for
// that reason is made again for some 20 s, within the context.
//
// # Earlier versions
//
// Of a bucket with versioning, [Backend.Versions] lists those of a state by their
// generations, and [Backend.ReadVersion] fetches one. Of another it knows the current
// one alone; what is kept by soft delete it does not see. To go back to a version, read
// it, and write it in the place of the current one.
//
// # Permissions
//
//	Read, Stat, Holder      storage.objects.get, list
//	Write, Lock             storage.objects.create, get, list; to replace a state also delete
//	Delete, Unlock          storage.objects.delete, get, list
//	List, Versions          storage.objects.list
//	ReadVersion             storage.objects.get
//
// Without storage.objects.list the service answers that access is denied where there
// is no object. roles/storage.objectUser has all of them.
package gcs
