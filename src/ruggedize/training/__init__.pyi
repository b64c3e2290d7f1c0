from .job import refuse_untrainable as refuse_untrainable
from .options import StudentOptions as StudentOptions
from .options import TrainingOptions as TrainingOptions
from .student import refuse_smaller as refuse_smaller
from .student import train_student as train_student
from .teacher import train_teacher as train_teacher
