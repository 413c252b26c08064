// Package azblob keeps states in Azure Blob Storage, with the blobs and leases of
// Terraform's and OpenTofu's azurerm backend.
//
// # Blobs
//
// The state of the default workspace is the block blob <key>, that of another
// <key>env:<workspace>. It is read with one GET and written with one Put Blob; the
// metadata that others keep on the blob is carried over, as Terraform does. Index
// tags, and headers other than the content type, are not.
//
// A state's revision is the MD5 of its content, which the service keeps beside it,
// so that two values of equal bytes share a revision. It is not the ETag, since that
// changes when a lock is noted in the metadata. Each write still carries in If-Match
// the ETag that the content was seen under; if only that has changed, the write is
// made again with the ETag of now.
//
// # Locks
//
// A lock is a lease of the blob, and the lease's ID is the lock's ID, as in
// Terraform; the record is kept in the blob's metadata "terraformlockid". It is put
// there before the lease is acquired, and the lease is acquired on the ETag that this
// has given the blob, so that no lock of ours is without its record, whatever fails.
// The ID is made for each call of Lock, and the one that the caller chose is kept in
// Info.Ref: Azure grants a lease again to whoever proposes the ID that holds it. A
// lock of a state that does not exist creates an empty blob, which counts as none.
//
// A released lock leaves its record, with the Info "released": Terraform takes a
// lease whose record is missing for an error, and stops waiting. A record without a
// lease means nothing, to Terraform neither.
//
// The lease is infinite, or lasts for a TTL between 15 and 60 seconds. A lease
// without a record of its own, left by a crash of Terraform or taken by hand, has a
// holder with an ID that begins "unreadable-"; Unlock with that ID breaks the lease.
//
// # Fence
//
// The service refuses writes and deletes without the lease's ID while the blob is
// leased, and with an ID that does not hold. A state that is deleted under its
// lock is replaced by an empty blob, since the lease would go with the blob; so is one
// that has snapshots, which would go too.
//
// # Replies
//
// A reply without the marks of the service, such as the page of a proxy, is not taken
// for its: not for a success, and not for "there is no state" or "nobody holds the lock".
// After a change, what is stored is looked at, as where the reply is lost. Redirects are
// not followed, unless by a Client that New was given.
//
// Nothing tells a DELETE that was delivered twice from one that another was faster with:
// its reply is ErrNotExist.
//
// # Permissions
//
// The role Storage Blob Data Contributor on the container, or a SAS with the
// permissions read, write, delete and list (racwdl with create). Read and Holder
// need read alone.
package azblob
