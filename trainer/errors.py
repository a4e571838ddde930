"""What can go wrong in a way that the user can mend: one line with the cure, exit code 2, no traceback."""


class TrainerError(Exception):
    """Root of the errors that are reported as one line."""


class RecipeError(TrainerError):
    """The recipe, or a --set, has a key or value that means nothing."""


class ModelError(TrainerError):
    """The model or its tokenizer cannot be loaded or does not fit the recipe."""


class SamplerError(TrainerError):
    """What samples or judges is not installed, cannot be reached, or refuses."""


class Refused(SamplerError):
    """A server will not answer this one request, whatever is repeated."""


class TasksError(TrainerError):
    """The problems cannot be read, or too few of them can be used."""


class ExecutionError(TrainerError):
    """There is no engine, or it did not answer for every program."""


class TrainingError(TrainerError):
    """A training broke off: its loss or gradient is no number, or its processes disagree."""


class RunFolderError(TrainerError):
    """The run folder cannot be used."""


class RunFolderInUse(RunFolderError):
    """Another process works in the run folder."""
