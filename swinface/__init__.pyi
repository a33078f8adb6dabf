from .data.align import align
from .files import InputError
from .model import SwinFace
from .photos.detect import detect
from .photos.predict import predict
from .tasks import TASKS
from .training.history import list_runs

__all__ = ["TASKS", "InputError", "SwinFace", "align", "detect", "list_runs", "predict"]
