"""Optuna's gRPC proxy: python -m loadtests.peers.optuna_proxy PORT memory|journal:FILE"""

import sys

import optuna


def main() -> None:
    port, kind = sys.argv[1:]
    storage: optuna.storages.BaseStorage = optuna.storages.InMemoryStorage()
    if kind.startswith("journal:"):
        backend = optuna.storages.journal.JournalFileBackend(kind.removeprefix("journal:"))
        storage = optuna.storages.JournalStorage(backend)
    optuna.storages.run_grpc_proxy_server(storage, host="127.0.0.1", port=int(port))


if __name__ == "__main__":
    main()
