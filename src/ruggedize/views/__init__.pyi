from .augment import randaugment as randaugment
from .noise import overlaps as overlaps
from .options import AdditiveNoiseOptions as AdditiveNoiseOptions
from .options import RandAugmentOptions as RandAugmentOptions
from .options import RandomErasingOptions as RandomErasingOptions
from .options import ViewOptions as ViewOptions
from .pairs import ViewMaker as ViewMaker
from .sheet import view_sheet as view_sheet
