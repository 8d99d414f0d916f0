"""A client of Kubernetes' API: objects of a namespace are read, made and taken away, and logs of pods read.

Knows paths, pages and what a refusal means: which rule of RBAC is missing. How a cluster is reached is
`kubernetes_access`'s, and what the objects say the caller's.

Reference: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, AuthenticationError, ConfigError, DataError, Refused, Unreachable
from asgard.transport.http import Answer, HttpClient, HttpSettings, Request
from asgard.transport.kubernetes_access import Access, trust

TIMEOUT_SECONDS = 15.0
HURRIED_SECONDS = 5.0
RETRIES = 2
PAGE = 500
ANSWERS = (400, 401, 403, 404, 405, 409, 410, 413, 415, 422)
"""Statuses whose reason stands in the answer, in the words of the cluster."""


@dataclass(frozen=True)
class Resource:
    """A kind of object, as paths and rules name it: group is empty for the core's."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str, name: str = "") -> str:
        """Where the objects of a namespace are, or one of them."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


SECRETS = Resource("", "v1", "secrets")
CONFIG_MAPS = Resource("", "v1", "configmaps")
EVENTS = Resource("", "v1", "events")
PODS = Resource("", "v1", "pods")


class KubernetesClient:
    """Objects of one cluster. Used from any thread.

    Raises:
        AuthenticationError: by every method: the cluster does not know us.
        Refused: the rights are missing; the hint is the rule that gives them.
        ConfigError: the cluster has no such kind, or does not take the object.
        Unreachable: no answer, or none that is one.
    """

    def __init__(self, access: Access, cancel: Cancel | None = None, *, patient: bool = True) -> None:
        """Connects to nothing yet.

        Args:
            patient: asks again where there is no answer; somebody who waits for a page does not.
        """
        self.access = access
        settings = HttpSettings(
            access.url,
            timeout_seconds=TIMEOUT_SECONDS if patient else HURRIED_SECONDS,
            max_retries=RETRIES if patient else 0,
            tls=trust(access),
        )
        authorizer = _Bearer(access.token) if access.token is not None else None
        self._http = HttpClient(settings, cancel or Cancel(), authorizer)

    def close(self) -> None:
        """Gives the connections back."""
        self._http.close()

    def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        """One object; None where there is none."""
        deed = _Deed("get", resource, namespace, name)
        answer = self._send(Request(resource.path(namespace, name)), deed)
        return None if _is_absent(answer, deed) else _object(self._good(answer, deed))

    def listed(
        self, resource: Resource, namespace: str, selectors: Mapping[str, str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The objects of a namespace, a page at a time; from the beginning again where the cluster has
        forgotten the list meanwhile, and then without those that were given already.

        Args:
            selectors: labelSelector, fieldSelector.
        """
        deed = _Deed("list", resource, namespace)
        seen: set[str] = set()
        following = ""
        while True:
            params = {**(selectors or {}), "limit": PAGE, **({"continue": following} if following else {})}
            answer = self._send(Request(resource.path(namespace), params=params), deed)
            if answer.status == 410 and following:
                following = ""
                continue
            page = _object(self._good(answer, deed))
            for item in page.get("items") or ():
                uid = str(item["metadata"].get("uid"))
                if uid not in seen:
                    seen.add(uid)
                    yield item
            following = page.get("metadata", {}).get("continue") or ""
            if not following:
                return

    def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Makes an object; None where there is one of its name already, which stays as it is."""
        deed = _Deed("create", resource, namespace, body["metadata"]["name"])
        # Asking twice is safe: the second finds the name taken.
        answer = self._send(Request(resource.path(namespace), "POST", body=body, repeatable=True), deed)
        if answer.status == 409 and _reason(answer) == "AlreadyExists":
            return None
        return _object(self._good(answer, deed))

    def delete(self, resource: Resource, namespace: str, name: str) -> bool:
        """Takes an object away, and what belongs to it; False where there is none."""
        deed = _Deed("delete", resource, namespace, name)
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        request = Request(resource.path(namespace, name), "DELETE", body=body, repeatable=True)
        answer = self._send(request, deed)
        if _is_absent(answer, deed):
            return False
        self._good(answer, deed)
        return True

    def log(self, namespace: str, pod: str, container: str, lines: int, most_bytes: int) -> str | None:
        """The last lines of what a container said; None where the pod is gone, or has not begun yet."""
        deed = _Deed("get", Resource("", "v1", "pods/log"), namespace, pod)
        params = {"container": container, "tailLines": lines, "limitBytes": most_bytes}
        answer = self._send(Request(f"{PODS.path(namespace, pod)}/log", params=params), deed)
        if answer.status in (400, 404) and _reason(answer) in ("BadRequest", "NotFound"):
            return None  # 400 says that the container waits to start
        return self._good(answer, deed).content.decode("utf-8", "replace")

    def _send(self, request: Request, deed: _Deed) -> Answer:
        try:
            return self._http.send(request, wanted=ANSWERS)
        except Unreachable as error:
            host = self.access.url
            what = f"the cluster {host} cannot be used: {error.what}"
            raise _retold(error, Unreachable(what, hint="is it up, and reachable from here?")) from error

    def _good(self, answer: Answer, deed: _Deed) -> Answer:
        if answer.status < 300:
            return answer
        raise _refusal(answer, deed, self.access, self._http.excerpt(_message(answer).encode()))


@dataclass(frozen=True)
class _Deed:
    """What was asked for, as a rule of RBAC names it."""

    verb: str
    resource: Resource
    namespace: str
    name: str = ""

    @property
    def told(self) -> str:
        named = f" {self.name}" if self.name else ""
        return f"{self.verb} {self.resource.plural}{named} in the namespace {self.namespace}"

    @property
    def rule(self) -> str:
        """The rule that allows it."""
        # Making and listing cannot be allowed for single names.
        named = self.name and self.verb not in ("create", "list")
        only = f", resourceNames: [{self.name}]" if named and self.resource is SECRETS else ""
        return (
            f'apiGroups: ["{self.resource.group}"], resources: [{self.resource.plural}]{only}, '
            f"verbs: [{self.verb}]"
        )


class _Bearer:
    """A token that may be another one at every request."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def header(self) -> str:
        return f"Bearer {self._token()}"

    def expired(self, header: str) -> bool:
        return self.header() != header


def _refusal(answer: Answer, deed: _Deed, access: Access, told: str) -> AsgardError:
    where = {"cluster": access.url}
    if answer.status == 401:
        return AuthenticationError(
            f"the cluster does not take the credentials of {access.who}",
            hint="is the account still there, and its token or certificate not expired?",
            where=where,
        )
    if answer.status == 403:
        return Refused(
            f"{access.who} may not {deed.told}: {told}",
            hint=f"give it a Role in {deed.namespace} with the rule {{{deed.rule}}}",
            where=where,
        )
    if answer.status == 404:
        resource = deed.resource
        kind = f"{resource.plural}.{resource.group}/{resource.version}" if resource.group else resource.plural
        hint = "is its operator installed, in this version?" if resource.group else "look at the namespace"
        return ConfigError(
            f"the cluster cannot {deed.told}: {kind} is not there: {told}", hint=hint, where=where
        )
    return ConfigError(f"the cluster did not {deed.told}: {told}", where=where)


def _retold(error: Unreachable, told: Unreachable) -> Unreachable:
    told.where, told.retryable = error.where, error.retryable
    return told


def _is_absent(answer: Answer, deed: _Deed) -> bool:
    """Whether the object is missing, and not its kind. The core's kinds are always there; of another one that
    is not served, the answer names no object."""
    if answer.status != 404:
        return False
    return not deed.resource.group or "name" in (_status(answer).get("details") or {})


def _status(answer: Answer) -> dict[str, Any]:
    try:
        told = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}


def _reason(answer: Answer) -> str:
    return str(_status(answer).get("reason") or "")


def _message(answer: Answer) -> str:
    return str(_status(answer).get("message") or answer.content.decode("utf-8", "replace"))


def _object(answer: Answer) -> dict[str, Any]:
    told = _status(answer)
    if "kind" not in told:
        raise DataError("the cluster's answer is no object", hint="does a proxy answer in its place?")
    return told
