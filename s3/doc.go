// Package s3 keeps states in Amazon S3 and in stores that speak its protocol, with
// the objects and locks of Terraform's and OpenTofu's s3 backend.
//
// # Objects
//
// The state of the default workspace is the object <key>, that of another
// <workspace_key_prefix>/<workspace>/<key>. Its revision is its ETag: writes and
// deletes carry it in If-Match, so that two values of equal bytes may share a
// revision. A state is one GET or one PUT, up to S3's limit of 5 GB for a PUT: no
// range, no part, no HEAD before it.
//
// # Locks
//
// With use_lockfile the lock is the object <state>.tflock, created by
// If-None-Match. With dynamodb_table it is an item of that table. With both it is
// both, the lock file first; whoever knows only one of them is kept out as well.
// A lock file can carry a TTL, an item cannot.
//
// Where two locks are configured, a crash, or a client that knows only one of them,
// can leave one alone:
//
//	the lock file is gone, the item is there    Holder names the item's holder; Lock takes
//	                                            the file, is refused by the item, gives the
//	                                            file back
//	the item is gone, the lock file is there    Holder names the file's holder; Lock is refused
//	each is another's                           Holder names the file's holder; each ID
//	                                            releases its own part
//	the record of both cannot be read           Holder names the file by an ID of its own,
//	                                            and when that is released the item
//
// Unlock with an ID releases whatever that ID holds. If the second lock is refused and
// the first cannot be given back, or the context ends, the error of Lock is a
// *lock.UnknownError with the ID. Since two locks are not taken at one moment, Holder may
// name for a moment who has only the first.
//
// # The digest
//
// With dynamodb_table, Terraform keeps the MD5 of each state in the table and
// refuses a state that does not match it. Read verifies it too, as patiently as
// Terraform does, and returns the State together with an error that matches
// backend.ErrCorrupt. [Backend.RepairDigest] makes the two agree. A Write under a
// lock stores the digest after the state; a Write without one looks again
// afterwards, since two writers may have met in between. If the digest cannot be
// stored, the error matches backend.ErrUnknown: read before you write again.
//
// An attribute StatelatchRevision beside the digest names the revision that it is of. A
// digest takes the place of its own revision's, and of that which its state replaced, and
// of no other: a request that arrives late, after the next Write, changes nothing. It
// still may, and Read then says backend.ErrCorrupt until RepairDigest, where nothing
// tells that it is late: after a digest of Terraform or OpenTofu, which do not name the
// revision; after Delete; where a state has become, byte for byte, what it was before;
// and if it is that of a Write with backend.AnyRevision.
//
// # Compatible endpoints
//
// Everything rests on conditional requests, which not every store honours. AWS, and
// an endpoint that conditions = "honoured" declares to be like it, are trusted; a ready
// client that resolves endpoints in a way of its own is not AWS. Any other endpoint is
// found out by use: on the first lock file that was won, two requests that have to be
// refused; without lock files, one before the first conditional write, three before
// the first creation. An endpoint that accepts them is refused, unless conditions =
// "ignored" accepts it knowingly. As long as it cannot be found out, since such a
// request fails in another way, a call fails: a lock is given back, a write is not made.
//
// That there is no object is told by a 404 with the code NoSuchKey. Any other 404, such
// as that of a proxy, is an error, and does not read as "no state" or "not locked".
//
// An endpoint that falls short on DELETE alone is good enough: MinIO, which ignores
// If-Match there, and versitygw, which accepts a DELETE of what is gone. A deleted
// state is then an empty object, which counts as none, and a lock is released by
// reading, comparing and deleting: if somebody breaks a lock while its holder releases
// it, both may succeed, and a lock that a third takes in that moment may go with it,
// as with Terraform.
//
// # Lost replies
//
// A write or a lock is known again by a token in the object's metadata or the item. A
// deletion leaves nothing to know it by: if its reply is lost, Delete of a state that
// is gone is backend.ErrUnknown, and Unlock of a lock that is gone is a success, also
// if somebody else broke it at that moment.
//
// # Earlier versions
//
// Of a bucket with versioning, [Backend.Versions] lists those of a state, newest first,
// by one request for each 1,000, and [Backend.ReadVersion] fetches one. Of another it
// knows the current one alone. No digest is kept of earlier versions. To go back to
// one, read it, and write it in the place of the current one.
//
// # Permissions
//
// The least that each method needs, on arn:aws:s3:::BUCKET/KEY for the state and on
// the same with .tflock for the lock file, and on the table:
//
//	Read            s3:GetObject; dynamodb:GetItem
//	Stat            s3:GetObject
//	Probe           s3:PutObject, s3:GetObject, s3:DeleteObject on KEY.statelatch-probe-*;
//	                s3:GetBucketVersioning on the bucket
//	Write           s3:PutObject, s3:GetObject; dynamodb:PutItem, GetItem, and DeleteItem
//	                where no lock is held
//	Delete          s3:GetObject, s3:DeleteObject; dynamodb:DeleteItem, GetItem, and PutItem
//	                where no lock is held
//	List            s3:ListBucket on arn:aws:s3:::BUCKET
//	Versions        s3:ListBucketVersions on arn:aws:s3:::BUCKET
//	ReadVersion     s3:GetObjectVersion
//	Lock            s3:PutObject, s3:GetObject, s3:DeleteObject; dynamodb:PutItem, GetItem
//	Unlock, Holder  s3:GetObject, s3:DeleteObject; dynamodb:GetItem, DeleteItem
//	Renew           s3:GetObject, s3:PutObject; dynamodb:GetItem
//	RepairDigest    s3:GetObject; dynamodb:GetItem, PutItem, DeleteItem
//
// On endpoints other than AWS, until it is known what they honour, Write and Delete,
// and Lock and Renew of a lock with a TTL, also put an object KEY.statelatch-probe-…
// beside the state, and delete it. One that is left, by a call that was cancelled or
// whose replies were lost, can be deleted. There Delete may also have to put an empty
// object.
//
// S3 answers a GET of a missing object with 403 instead of 404 to credentials that
// lack s3:ListBucket on the bucket; grant it (a condition on s3:prefix is enough),
// or "no state yet" cannot be told from "not yours". Encryption with a KMS key also
// takes kms:GenerateDataKey and kms:Decrypt on that key.
package s3
