"""One worker of Optuna: python -m loadtests.peers.optuna_worker STORAGE STUDY SECONDS

STORAGE: `journal:FILE`, `proxy:PORT` or a URL of its relational storage.
"""

import sys

import optuna

from loadtests.peers.pacing import measure


def storage_of(text: str) -> optuna.storages.BaseStorage:
    kind, _, rest = text.partition(":")
    if kind == "journal":
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(rest))
    if kind == "proxy":
        return optuna.storages.GrpcStorageProxy(host="127.0.0.1", port=int(rest))
    return optuna.storages.RDBStorage(text, engine_kwargs={"pool_size": 1})


def main() -> None:
    storage, name, seconds = sys.argv[1:]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=storage_of(storage),
        study_name=name,
        sampler=optuna.samplers.RandomSampler(),
        load_if_exists=True,
    )

    def once() -> int:
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        study.tell(trial, 0.5)
        return 1

    measure(once, float(seconds))


if __name__ == "__main__":
    main()
