from .loss import ConsistencyLoss as ConsistencyLoss
from .noise import Corrupt as Corrupt
from .noise import NoiseChain as NoiseChain
from .noise import RandAugment as RandAugment
from .random_crop import RandomResizedCrop as RandomResizedCrop
