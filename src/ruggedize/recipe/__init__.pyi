from .reading import keep_place as keep_place
from .reading import load_recipe as load_recipe
from .reading import shipped_recipes as shipped_recipes
from .recipe import Recipe as Recipe
from .recipe import differing as differing
from .recipe import differing_keys as differing_keys
from .recipe import recipe_toml as recipe_toml
