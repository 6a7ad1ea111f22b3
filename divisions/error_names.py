"""Every error by its name, for those that arrive as text from another process; and all of them as one tree.

DivisionsError
├── UsageError              the command line was used wrongly                     (exit status 2)
├── SettingsError           an environment variable is unknown or malformed
├── PipelineError           the pipeline file is malformed (path, line, column)
├── InputError              raw data cannot be used
│   ├── UnreachableInputError   the location does not answer or refuses us
│   │   └── RefusedInputError       the location answers, but denies access
│   ├── EmptyInputError         the location answers, but holds no rows
│   ├── MissingColumnError      a column that the pipeline needs is not there
│   └── ForbiddenInputError     the scheme or bucket is not on the allow-list
├── TrainingError           training or export failed (parity, no convergence, dead workers)
├── GateRefusedError        the model was trained, but a validation gate refused it
├── RegistryError           the model registry is unreachable or lacks the version
├── BundleError             a bundle is damaged, or was changed after it was written
├── ArtifactStoreError      the artifact store does not answer, or refuses
├── CloudError              AWS does not answer, or refuses
│   ├── CloudUnreachableError   it does not answer now, or limits requests
│   └── ExpiredCredentialsError  the credentials have ended
├── EngineError             an engine cannot be opened, or its answers differ from the others'
│   ├── EngineUnavailableError  the engine that the version requires is not available here
│   └── OverCommitError         the request exceeds the GPUs of the cluster
├── OnlineStoreError        the online feature store is damaged or locked
│   └── StoreUnavailableError   a shared online store does not answer, or refuses
├── ClusterError            the cluster is not in the state the command needs
│   ├── AlreadyRunningError     a cluster of this home is already up
│   ├── NotRunningError         no cluster of this home is up
│   ├── PortInUseError          another process listens on a port that we need
│   └── JournalDamagedError     the controller's journal is not as it was written
├── AccessDeniedError       the control API refuses us: the token is absent or wrong
│   ├── MissingTokenError       there is no token
│   └── UnknownTokenError       nobody has this token, or it has expired
├── UnknownPrincipalError   nobody of that name has a token
├── TokensUnavailableError  the tokens cannot be read or written now
├── AuditUnavailableError   the audit log cannot be written
├── PolicyError             a policy in Rego is malformed, or fails its tests           (path, line)
├── RolloutError            a rollout command cannot be carried out
│   ├── IllegalEventError       this event cannot happen in this phase
│   ├── ConflictError           another caller changed the rollout first
│   │   └── StaleGenerationError    the rollout has moved on since the generation that the caller saw
│   ├── LatchedSpecError        the same spec was rolled back before
│   ├── PolicyRefusedError      a policy does not allow it (yet): which rule, and how to comply
│   ├── InvalidCommandError     the body of a command is not what it takes
│   ├── SchemaMismatchError     its features do not fit those of the version that serves
│   ├── JournalUnavailableError  the journal cannot be written or read now
│   │   └── JournalHeldError        a living controller of another cluster writes it
│   ├── JournalFencedError      another controller has taken the journal over
│   ├── NoRoomError             the cluster has no room for so many replicas
│   ├── ReportError             a gateway's report is invalid, and is ignored
│   └── UnknownVersionError     no such model, endpoint or version
├── FaultsRefusedError      fault injection on a cluster that does not allow it
├── InjectedFaultError      a fault that was injected on purpose
├── UnhealthyReplicaError   a replica can no longer answer and must be replaced
├── ChannelError            the data channel to a replica broke, or carried invalid data
└── RequestError            a predict request cannot be answered
    ├── UnknownEndpointError    no such endpoint or model
    ├── NothingDeployedError    no endpoint serves yet
    ├── MalformedRequestError   not well-formed (syntax)
    │   └── UnsupportedMediaTypeError   the body's content type is not taken
    ├── InvalidFeaturesError    well-formed, but does not match the feature schema
    │   └── StoredFeaturesError     the online store's features do not match the schema
    ├── UnknownEntityError      the online store has no features for this customer
    │   └── StaleFeaturesError      its features are older than the endpoint allows
    ├── OverloadedError         refused before any work was done (``retry_after_s``)
    │   ├── LimitReachedError       the caller has reached a limit of its own
    │   └── NoReferenceError        what explanations compare with is not here yet
    ├── DeadlineExceededError   not answered in time
    └── ReplicaFailedError      every attempt failed
"""

from __future__ import annotations

from typing import Final

from divisions import errors
from divisions.errors import DivisionsError

BY_NAME: Final[dict[str, type[DivisionsError]]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, DivisionsError)
}
"""Every class of `divisions.errors`."""
