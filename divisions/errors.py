"""Every error that Divisions raises on purpose; `divisions.error_names` draws them as one tree.

No class here depends on HTTP: `router.http.problem` has the table from class to status.
"""

from __future__ import annotations


class DivisionsError(Exception):
    """Base of the tree.

    Args:
        message: what is wrong, naming the culprit.
        remedy: what the reader can do about it; shown after the message.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message.rstrip('. ')}. {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments are lost by Exception's own pickling, and Ray pickles errors.
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(cls: type[DivisionsError], state: dict[str, object]) -> DivisionsError:
    error = cls.__new__(cls)
    Exception.__init__(error, state.get("message", ""))
    error.__dict__.update(state)
    return error


def reason_of(error: Exception) -> str:
    """What went wrong, for a message that names the file itself: without the number and the path that Python adds.

    >>> reason_of(PermissionError(13, "Permission denied", "/home/token"))
    'Permission denied'
    """
    return (isinstance(error, OSError) and error.strerror) or str(error)


class UsageError(DivisionsError):
    """The command line was used wrongly."""


class SettingsError(DivisionsError):
    """A ``DIVISIONS_*`` variable is unknown or malformed."""


class PipelineError(DivisionsError):
    """The pipeline file is malformed; ``line`` and ``column`` count from 1, 0 means unknown.

    ``others`` are the further errors of the same file, in its order; ``str`` shows each on a line of its own.
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        path: str = "",
        line: int = 0,
        column: int = 0,
        others: tuple[PipelineError, ...] = (),
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.path, self.others = path, others
        self.line, self.column = line, column

    def __str__(self) -> str:
        place = f"{self.path}: " if self.path else ""
        if self.line:
            place = f"{self.path or 'pipeline'}:{self.line}:{self.column}: "
        return "\n".join([place + super().__str__(), *map(str, self.others)])


class InputError(DivisionsError):
    """Raw data cannot be used."""


class UnreachableInputError(InputError):
    """The input location does not answer, or refuses us."""


class RefusedInputError(UnreachableInputError):
    """The input location answers, but denies access."""


class EmptyInputError(InputError):
    """The input location answers, but holds no usable rows."""


class MissingColumnError(InputError):
    """A column that the pipeline needs is not in the data."""


class ForbiddenInputError(InputError):
    """The input's scheme or bucket is not on the allow-list."""


class TrainingError(DivisionsError):
    """Training or export failed."""


class GateRefusedError(DivisionsError):
    """A validation gate refused the model."""


class RegistryError(DivisionsError):
    """The model registry is unreachable, or has no such model or version."""


class BundleError(DivisionsError):
    """A bundle is damaged, or was changed after it was written."""


class ArtifactStoreError(DivisionsError):
    """The artifact store does not answer, or refuses."""


class CloudError(DivisionsError):
    """AWS does not answer, or refuses; ``code`` is its name of the error, if it gave one."""

    def __init__(self, message: str, *, remedy: str = "", code: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


class CloudUnreachableError(CloudError):
    """AWS does not answer now, fails, or limits requests; the same call may work later."""


class ExpiredCredentialsError(CloudError):
    """The credentials for AWS have ended; the same call may work with new ones."""


class EngineError(DivisionsError):
    """An engine cannot be opened, or its answers differ from the others'; the next engine may work."""


class EngineUnavailableError(EngineError):
    """The engine that the version requires is not available here."""


class OverCommitError(EngineError):
    """The request exceeds the GPUs of the cluster, or their memory."""


class OnlineStoreError(DivisionsError):
    """The online feature store cannot be read or written."""


class StoreUnavailableError(OnlineStoreError):
    """A shared online store does not answer, or refuses; nobody knows what it has."""


class ClusterError(DivisionsError):
    """The cluster is not in the state that the command needs."""


class AlreadyRunningError(ClusterError):
    """A cluster of this home is already up."""


class NotRunningError(ClusterError):
    """No cluster of this home is up."""


class PortInUseError(ClusterError):
    """Another process listens on a port that we need."""


class JournalDamagedError(ClusterError):
    """The controller's journal is not as it was written."""


class AccessDeniedError(DivisionsError):
    """The control API refuses us: the token is absent or wrong."""


class MissingTokenError(AccessDeniedError):
    """A token is needed, and the request has none."""


class UnknownTokenError(AccessDeniedError):
    """Nobody has this token, or it has expired."""


class UnknownPrincipalError(DivisionsError):
    """Nobody of that name has a token."""


class AuditUnavailableError(DivisionsError):
    """The audit log cannot be written, so what must be in it is not done."""


class TokensUnavailableError(DivisionsError):
    """The tokens cannot be read or written now; those that gateways know stay valid."""


class PolicyError(DivisionsError):
    """A policy in Rego, or its data, is malformed or fails its own tests; ``line`` counts from 1, 0 means unknown."""

    def __init__(self, message: str, *, remedy: str = "", path: str = "", line: int = 0) -> None:
        place = path and f"{path}{f':{line}' if line else ''}: "
        super().__init__(place + message, remedy=remedy)


class RolloutError(DivisionsError):
    """A rollout command cannot be carried out."""


class IllegalEventError(RolloutError):
    """This event cannot happen in this phase."""


class ConflictError(RolloutError):
    """Another caller changed the rollout first, or one is already in progress."""


class StaleGenerationError(ConflictError):
    """The rollout has moved on since the generation that the caller saw (If-Match)."""


class LatchedSpecError(RolloutError):
    """The same spec was rolled back before; it starts again only when forced."""


class PolicyRefusedError(RolloutError):
    """A policy does not allow it, or not yet. The message names the rule, and says how to comply."""


class InvalidCommandError(RolloutError):
    """The body of a command is JSON, but not what the command takes."""


class SchemaMismatchError(RolloutError):
    """The features of a new version do not fit those of the version that serves."""


class JournalUnavailableError(RolloutError):
    """The journal cannot be written or read now, so nothing that needs it is done."""


class JournalHeldError(JournalUnavailableError):
    """A living controller of another cluster writes the journal."""


class JournalFencedError(RolloutError):
    """Another controller has taken the journal over. This one may write nothing any more, and ends."""


class NoRoomError(RolloutError):
    """The cluster has no room for so many replicas; the message says what each node has."""


class ReportError(RolloutError):
    """A gateway's report is invalid. It is ignored, which costs statistical power but not validity."""


class UnknownVersionError(RolloutError):
    """No such model, endpoint or version."""


class FaultsRefusedError(DivisionsError):
    """Fault injection was requested on a cluster that was not started with faults allowed."""


class InjectedFaultError(DivisionsError):
    """A fault that was injected on purpose: an engine raises it instead of answering."""


class UnhealthyReplicaError(DivisionsError):
    """A replica can no longer answer and must be replaced."""


class ChannelError(DivisionsError):
    """The data channel to a replica broke, or carried something that is not a frame."""


class RequestError(DivisionsError):
    """A predict request cannot be answered."""


class UnknownEndpointError(RequestError):
    """No such endpoint or model."""


class NothingDeployedError(RequestError):
    """No endpoint serves yet."""


class MalformedRequestError(RequestError):
    """The body is not well-formed."""


class UnsupportedMediaTypeError(MalformedRequestError):
    """The body's content type is not taken here."""


class InvalidFeaturesError(RequestError):
    """The body is well-formed, but does not match the feature schema."""


class StoredFeaturesError(InvalidFeaturesError):
    """The online store's features of this customer do not match the feature schema."""


class UnknownEntityError(RequestError):
    """The online store has no features for this entity."""


class StaleFeaturesError(UnknownEntityError):
    """The online store's features of this entity are older than the endpoint's policy allows."""


class OverloadedError(RequestError):
    """Refused before any work was done; try again after ``retry_after_s`` seconds."""

    def __init__(self, message: str, *, remedy: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s


class LimitReachedError(OverloadedError):
    """The caller has reached a limit of its own. ``policy`` and ``left`` are HTTP's headers about it, if there are."""

    policy = left = ""


class NoReferenceError(OverloadedError):
    """What the explanations of a version compare with is not here yet; see ``retry_after_s``."""


class DeadlineExceededError(RequestError):
    """The request was not answered before its deadline."""


class ReplicaFailedError(RequestError):
    """Every attempt to answer the request failed."""
