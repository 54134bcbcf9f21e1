import subprocess
import sys

NOT_FOR_SERVING = ("torch", "transformers", "sentence_transformers", "ranx", "numba")


def test_application_is_built_without_the_training_libraries() -> None:
    program = (
        "import sys; from app.asgi import create_app; from app.settings import Settings;"
        "create_app(Settings());"
        f"print([name for name in {NOT_FOR_SERVING!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")
