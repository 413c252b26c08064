// Package gcs keeps states in Google Cloud Storage, with the objects and locks of
// Terraform's and OpenTofu's gcs backend.
//
// # Objects
//
// The state of every workspace, the default one included, is the object
// <prefix>/<workspace>.tfstate. Its revision is its generation, which no two values
// share. It is read with one GET, from whose reply the generation comes too, and
// written with one upload that has no parts, on the generation that it replaces.
// Content types are those that Terraform leaves, so that a state is the same object
// whoever wrote it.
//
// # Locks
//
// The lock is the object <prefix>/<workspace>.tflock, created on generation 0: it
// must not exist. Its generation, in decimal, is the lock's ID, as in Terraform;
// the ID that the caller chose is kept in Info.Ref. The lock object is encrypted
// with neither of the configured keys, as in Terraform. A lock cannot carry a TTL:
// the client library does not show the server's clock.
//
// Unlock also takes the caller's own ID, since it is all that is known of a lock
// whose creation was left in doubt.
//
// # Permissions
//
//	Read, Stat, Holder      storage.objects.get
//	Write, Lock             storage.objects.create, get; to replace a state also delete
//	Delete, Unlock          storage.objects.get, delete
//	List                    storage.objects.list
//
// Cloud Storage allows about one change a second of one object; what it refuses for
// that reason is made again, within the context.
package gcs
