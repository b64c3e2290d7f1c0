from .core.errors import UserError as UserError
from .corruptions import CORRUPTIONS as CORRUPTIONS
from .corruptions import corrupt as corrupt
from .corruptions import generated_suite as generated_suite
from .data import ImageBatch as ImageBatch
from .data import ImageSet as ImageSet
from .data import load_data as load_data
from .models import Classifier as Classifier
from .models import Predictor as Predictor
from .models import load_model as load_model
from .pipeline import run as run
from .recipe import Recipe as Recipe
from .recipe import load_recipe as load_recipe
from .report import write_report as write_report
from .train import train_student as train_student
from .train import train_teacher as train_teacher
from .views import randaugment as randaugment

__version__: str
