# SPDX-License-Identifier: Apache-2.0
"""S3's errors, with S3's own messages. Source: Amazon S3 API Reference, "Error responses", "List of error codes"."""

from __future__ import annotations

from typing import ClassVar

from cloudchamber.base.errors import ServiceError


class S3Error(ServiceError):
    """An error of S3 with the text that S3 gives it."""

    text: ClassVar[str] = ""

    def __init__(self, message: str = "", *, headers: dict[str, str] | None = None, **members: str) -> None:
        super().__init__(message or self.text, headers=headers, **members)


class AccessControlListNotSupported(S3Error):
    """The bucket does not allow ACLs (Object Ownership is `BucketOwnerEnforced`)."""

    code = "AccessControlListNotSupported"
    status = 400
    text = "The bucket does not allow ACLs"


class AccessForbidden(S3Error):
    """S3's plain refusal, without a reason: what a caller sees who may not know whether a key exists."""

    code = "AccessDenied"
    status = 403
    text = "Access Denied"


class BadDigest(S3Error):
    """A checksum or `Content-MD5` did not match; nothing was stored."""

    code = "BadDigest"
    status = 400
    text = "The Content-MD5 you specified did not match what we received."


class BucketAlreadyExists(S3Error):
    """Another account has the bucket."""

    code = "BucketAlreadyExists"
    status = 409
    text = (
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
        "Please select a different name and try again."
    )


class BucketAlreadyOwnedByYou(S3Error):
    """The caller's account has the bucket already."""

    code = "BucketAlreadyOwnedByYou"
    status = 409
    text = "Your previous request to create the named bucket succeeded and you already own it."


class BucketNotEmpty(S3Error):
    """The bucket holds objects."""

    code = "BucketNotEmpty"
    status = 409
    text = "The bucket you tried to delete is not empty"


class EntityTooLarge(S3Error):
    """More than 5 GiB in one request."""

    code = "EntityTooLarge"
    status = 400
    text = "Your proposed upload exceeds the maximum allowed size"


class EntityTooSmall(S3Error):
    """A part other than the last has less than 5 MiB."""

    code = "EntityTooSmall"
    status = 400
    text = "Your proposed upload is smaller than the minimum allowed size"


class IllegalLocationConstraint(S3Error):
    """The location is not the region of the endpoint."""

    code = "IllegalLocationConstraintException"
    status = 400


class InvalidArgument(S3Error):
    """An argument is wrong."""

    code = "InvalidArgument"
    status = 400
    text = "Invalid Argument"


class InvalidBucketName(S3Error):
    """The name breaks the bucket naming rules."""

    code = "InvalidBucketName"
    status = 400
    text = "The specified bucket is not valid."


class InvalidDigest(S3Error):
    """`Content-MD5` is no MD5."""

    code = "InvalidDigest"
    status = 400
    text = "The Content-MD5 you specified was invalid."


class InvalidLocationConstraint(S3Error):
    """There is no such location."""

    code = "InvalidLocationConstraint"
    status = 400
    text = "The specified location-constraint is not valid"


class InvalidPart(S3Error):
    """A part was not uploaded, or its ETag is another."""

    code = "InvalidPart"
    status = 400
    text = (
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
        "specified entity tag may not match the part's entity tag."
    )


class InvalidPartNumber(S3Error):
    """The object has fewer parts."""

    code = "InvalidPartNumber"
    status = 416
    text = "The requested partnumber is not satisfiable"


class InvalidPartOrder(S3Error):
    """Parts are not in ascending order."""

    code = "InvalidPartOrder"
    status = 400
    text = "The list of parts was not in ascending order. Parts must be ordered by part number."


class InvalidRange(S3Error):
    """The range begins behind the end."""

    code = "InvalidRange"
    status = 416
    text = "The requested range is not satisfiable"


class InvalidRequest(S3Error):
    """The request makes no sense as a whole."""

    code = "InvalidRequest"
    status = 400


class ConditionalRequestConflict(S3Error):
    """The key of a conditional completion was written or deleted while its upload was under way."""

    code = "ConditionalRequestConflict"
    status = 409
    text = "The conditional request cannot succeed due to a conflicting operation against this resource."


class InvalidTag(S3Error):
    """A tag is too long, comes twice, or is reserved."""

    code = "InvalidTag"
    status = 400
    text = "The TagKey you have provided is invalid"


class KeyTooLong(S3Error):
    """The key has more than 1,024 octets."""

    code = "KeyTooLongError"
    status = 400
    text = "Your key is too long"


class MalformedPolicy(S3Error):
    """The bucket policy is not one."""

    code = "MalformedPolicy"
    status = 400
    text = "This policy contains invalid Json"


class MalformedXML(S3Error):
    """The body is well-formed, and not what the schema wants."""

    code = "MalformedXML"
    status = 400
    text = "The XML you provided was not well-formed or did not validate against our published schema"


class MetadataTooLarge(S3Error):
    """More than 2 KB of user metadata."""

    code = "MetadataTooLarge"
    status = 400
    text = "Your metadata headers exceed the maximum allowed metadata size"


class NoSuchBucket(S3Error):
    """The bucket does not exist."""

    code = "NoSuchBucket"
    status = 404
    text = "The specified bucket does not exist"


class NoSuchBucketPolicy(S3Error):
    """The bucket has no policy."""

    code = "NoSuchBucketPolicy"
    status = 404
    text = "The bucket policy does not exist"


class NoSuchKey(S3Error):
    """The key does not exist."""

    code = "NoSuchKey"
    status = 404
    text = "The specified key does not exist."


class NoSuchPublicAccessBlockConfiguration(S3Error):
    """The bucket has no public access block."""

    code = "NoSuchPublicAccessBlockConfiguration"
    status = 404
    text = "The public access block configuration was not found"


class NoSuchTagSet(S3Error):
    """The bucket has no tags."""

    code = "NoSuchTagSet"
    status = 404
    text = "The TagSet does not exist"


class NoSuchUpload(S3Error):
    """The multipart upload does not exist, was completed, or was aborted."""

    code = "NoSuchUpload"
    status = 404
    text = (
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed."
    )


class NoSuchVersion(S3Error):
    """There is no such version."""

    code = "NoSuchVersion"
    status = 404
    text = "The specified version does not exist."


class Unimplemented(S3Error):
    """S3 could; this chamber cannot yet."""

    code = "NotImplemented"
    status = 501
    text = "A header you provided implies functionality that is not implemented"


class MethodNotAllowed(S3Error):
    """It cannot be done to this resource, or no more: to a delete marker, for one."""

    code = "MethodNotAllowed"
    status = 405
    text = "The specified method is not allowed against this resource."


class IllegalVersioningConfigurationException(S3Error):
    """The versioning configuration says nothing."""

    code = "IllegalVersioningConfigurationException"
    status = 400
    text = "The Versioning element must be specified"


class InvalidBucketState(S3Error):
    """The bucket's configuration does not allow it."""

    code = "InvalidBucketState"
    status = 409
    text = "The request is not valid with the current state of the bucket."


class InvalidBucketOwnerAWSAccountID(S3Error):
    """The expected bucket owner is no account."""

    code = "InvalidBucketOwnerAWSAccountID"
    status = 400


class InvalidRetentionPeriod(S3Error):
    """The default retention is too short or too long."""

    code = "InvalidRetentionPeriod"
    status = 400
    text = "Default retention period must be a positive integer value."


class NoSuchObjectLockConfiguration(S3Error):
    """The version has no retention, or no legal hold."""

    code = "NoSuchObjectLockConfiguration"
    status = 404
    text = "The specified object does not have a ObjectLock configuration"


class NotModified(S3Error):
    """The client has it already."""

    code = "NotModified"
    status = 304
    text = "Not Modified"


class OwnershipControlsNotFoundError(S3Error):
    """The bucket has no ownership controls."""

    code = "OwnershipControlsNotFoundError"
    status = 404
    text = "The bucket ownership controls were not found"


class PreconditionFailed(S3Error):
    """A condition of the request did not hold."""

    code = "PreconditionFailed"
    status = 412
    text = "At least one of the pre-conditions you specified did not hold"


class ServerSideEncryptionConfigurationNotFoundError(S3Error):
    """The bucket encrypts nothing by default."""

    code = "ServerSideEncryptionConfigurationNotFoundError"
    status = 404
    text = "The server side encryption configuration was not found"


class TooManyBuckets(S3Error):
    """More buckets than an account may have."""

    code = "TooManyBuckets"
    status = 400
    text = "You have attempted to create more buckets than allowed"


class NoSuchCORSConfiguration(S3Error):
    """The bucket has no CORS configuration."""

    code = "NoSuchCORSConfiguration"
    status = 404
    text = "The CORS configuration does not exist"


class NoSuchLifecycleConfiguration(S3Error):
    """The bucket has no lifecycle configuration."""

    code = "NoSuchLifecycleConfiguration"
    status = 404
    text = "The lifecycle configuration does not exist"


class NoSuchWebsiteConfiguration(S3Error):
    """The bucket is no website."""

    code = "NoSuchWebsiteConfiguration"
    status = 404
    text = "The specified bucket does not have a website configuration"


class ObjectLockConfigurationNotFoundError(S3Error):
    """The bucket has no Object Lock."""

    code = "ObjectLockConfigurationNotFoundError"
    status = 404
    text = "Object Lock configuration does not exist for this bucket"


class ReplicationConfigurationNotFoundError(S3Error):
    """The bucket is not replicated."""

    code = "ReplicationConfigurationNotFoundError"
    status = 404
    text = "The replication configuration was not found"


class InvalidBucketAclWithObjectOwnership(S3Error):
    """ACLs and `BucketOwnerEnforced` exclude each other."""

    code = "InvalidBucketAclWithObjectOwnership"
    status = 400
    text = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"


class InvalidBucketAclWithBlockPublicAccess(S3Error):
    """A new bucket blocks public ACLs."""

    code = "InvalidBucketAclWithBlockPublicAccessError"
    status = 400
    text = "Bucket cannot have public ACLs set with BlockPublicAccess enabled"


class MalformedACLError(S3Error):
    """The ACL is well-formed, and not what the schema wants."""

    code = "MalformedACLError"
    status = 400
    text = "The XML you provided was not well-formed or did not validate against our published schema"


class MissingSecurityHeader(S3Error):
    """A header that must be there is not."""

    code = "MissingSecurityHeader"
    status = 400
    text = "Your request was missing a required header"


class UnexpectedContent(S3Error):
    """The request has a body, and says by headers what the body would say."""

    code = "UnexpectedContent"
    status = 400
    text = "This request does not support content"


class UnknownCannedAcl(InvalidArgument):
    """There is no canned ACL of that name; S3 says it without a message."""

    text = ""


class UnresolvableGrantByEmailAddress(S3Error):
    """Nobody here has that address."""

    code = "UnresolvableGrantByEmailAddress"
    status = 400
    text = "The e-mail address you provided does not match any account on record."


class BadRequest(S3Error):
    """The request cannot be understood."""

    code = "BadRequest"
    status = 400


class CorsForbidden(S3Error):
    """No rule lets a page of another origin do it."""

    code = "AccessForbidden"
    status = 403


class InvalidEncryptionAlgorithm(S3Error):
    """A customer's key is for AES-256 only."""

    code = "InvalidEncryptionAlgorithmError"
    status = 400
    text = "The Encryption request you specified is not valid. Supported value: AES256."


class KmsRefusal(S3Error):
    """KMS would not: its own error, as S3 passes it on."""

    status = 400

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = f"KMS.{code}"  # pyright: ignore[reportAttributeAccessIssue] - of this one error


class CrossLocationLoggingProhibited(S3Error):
    """Logs lie in the region of their bucket."""

    code = "CrossLocationLoggingProhibitted"
    status = 403
    text = "Cross S3 location logging not allowed. "


class IdMismatch(S3Error):
    """The id in the address is not that of the document."""

    code = "IdMismatch"
    status = 400
    text = "Document ID does not match the specified configuration ID."


class InvalidRedirectLocation(S3Error):
    """A redirect goes to a path or to an address."""

    code = "InvalidRedirectLocation"
    status = 400
    text = "The website redirect location must have a prefix of 'http://' or 'https://' or '/'."


class InvalidS3DestinationBucket(S3Error):
    """The destination is no bucket's ARN."""

    code = "InvalidS3DestinationBucket"
    status = 400
    text = "Invalid bucket ARN."


class InvalidTargetBucketForLogging(S3Error):
    """Logs cannot be written there."""

    code = "InvalidTargetBucketForLogging"
    status = 400
    text = "The target bucket for logging does not exist"


class NoSuchConfiguration(S3Error):
    """There is no configuration of that id."""

    code = "NoSuchConfiguration"
    status = 404
    text = "The specified configuration does not exist."


class TooManyConfigurations(S3Error):
    """A bucket keeps at most 1,000 of a kind."""

    code = "TooManyConfigurations"
    status = 400
    text = "You are attempting to create a new configuration but have already reached the 1,000-configuration limit."


class InvalidObjectState(S3Error):
    """The object is archived, or is not, and the operation wants the other."""

    code = "InvalidObjectState"
    status = 403
    text = "The operation is not valid for the object's storage class"


class RestoreAlreadyInProgress(S3Error):
    """The object is being restored already."""

    code = "RestoreAlreadyInProgress"
    status = 409
    text = "Object restore is already in progress"


class InvalidStorageClass(S3Error):
    """There is no such storage class."""

    code = "InvalidStorageClass"
    status = 400
    text = "The storage class you specified is not valid"
