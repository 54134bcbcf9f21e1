"""Install the clients and run their tests: `make test-clients`."""

import subprocess
import sys

from tests.clients.environment import install

if __name__ == "__main__":
    install()
    tests = ["-m", "pytest", "-n0", "tests/clients", *sys.argv[1:]]
    sys.exit(subprocess.run([sys.executable, *tests], check=False).returncode)
