"""What object stores say when something is wrong, as our errors.

obstore gives the class of a few mistakes, and for the others the store's own answer as text: a status, and in
S3's, Google's and Azure's alike a document with a code and a message.

Reference: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html,
https://learn.microsoft.com/en-us/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    ConfigError,
    DataError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.secret import redact
from asgard.transport.files import FoundFile, changed

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_QUERY = re.compile(r"\?[^\s\"']*")
_KEY_PLACES = re.compile(r"169\.254\.\d|/latest/(api/token|meta-data)|metadata\.google|/metadata/identity")
"""Where a machine asks for its own credentials."""
WRONG_KEYS = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired",
    "AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation",
}  # fmt: skip
WRONG_REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}
NO_PLACE = {"NoSuchBucket", "ContainerNotFound", "InvalidBucketName"}


def our_error(error: Exception, place: str, secrets: Sequence[str], file: FoundFile | None) -> AsgardError:
    """The error with the next step in it, and no secret.

    Args:
        place: URL of what was asked for.
        file: the object that was being read; None when none was.
    """
    text = redact(str(error), list(secrets))
    status, code = _found(_STATUS, text), _found(_CODE, text)
    where = {"object": place}
    told = _told(text, code)
    kind = type(error).__name__
    if file is not None and (kind == "PreconditionError" or status in ("412", "416")):
        return changed(file)
    if code == "RequestTimeTooSkewed":
        return ConfigError("the store's clock and ours differ", hint="set this machine's clock", where=where)
    if code in WRONG_KEYS or kind == "UnauthenticatedError" or status == "401":
        return AuthenticationError(
            f"the credentials were refused: {told}",
            hint="look at the keys, and whether they have expired",
            where=where,
        )
    if _KEY_PLACES.search(text.partition("\n")[0]):
        return AuthenticationError(
            "there are no credentials: not in the configuration, the environment or a profile, and this "
            "machine has no role",
            hint="give access keys, or set anonymous: true for a public bucket",
            where=where,
        )
    if code in NO_PLACE:
        return QueryError(f"there is no such bucket: {told}", hint="look at bucket and region", where=where)
    if kind in ("FileNotFoundError", "NotFoundError") or status == "404":
        return QueryError("there is no such object", hint="look at bucket, prefix and path", where=where)
    if code in WRONG_REGION or status in ("301", "307") or "redirect" in text[:400].lower():
        return ConfigError(
            f"the bucket is elsewhere: {told}",
            hint="set region, or endpoint_url, to the bucket's",
            where=where,
        )
    if status == "403" or kind == "PermissionDeniedError":
        return Refused(
            f"not allowed: {told}", hint="grant the permission to list the bucket and to read its objects",
            where=where,
        )  # fmt: skip
    return _other(text, told, kind, status, where)


def _other(text: str, told: str, kind: str, status: str, where: dict[str, str]) -> AsgardError:
    if kind == "InvalidPathError":
        return DataError(
            f"a key cannot be read: {told}",
            hint="keys must have no empty, . or .. folders; set prefix, or rename it",
            where=where,
        )
    if "certificate" in text:
        return Unreachable(
            "the store's certificate is not trusted",
            hint="give the authority that signed it as ca_file, or mend endpoint_url",
            where=where,
        )
    if status.startswith("4") and status not in ("408", "429"):
        return ConfigError(f"the store does not take the request: {told}", hint="look at it", where=where)
    return Unreachable(
        f"the store does not answer: {told}",
        hint="look at endpoint_url and region, and whether a proxy or firewall is between",
        where=where,
    )


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""


def _told(text: str, code: str) -> str:
    """The store's words, or the client's first line."""
    if code:
        return f"{code}, {_found(_MESSAGE, text)}".rstrip(", ")
    return _QUERY.sub("", text.partition("\n")[0])[:300]
