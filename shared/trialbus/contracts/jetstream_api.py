"""Subjects of JetStream's own API, built here and nowhere else: who may say them is decided by the
same words that say them. Source: JetStream wire API reference, https://docs.nats.io.
"""

_API = "$JS.API"
_ACK = "$JS.ACK"
# Stands for any stream or consumer in a pattern.
ANY = "*"


def create_stream(stream: str) -> str:
    return f"{_API}.STREAM.CREATE.{stream}"


def update_stream(stream: str) -> str:
    return f"{_API}.STREAM.UPDATE.{stream}"


def stream_info(stream: str) -> str:
    return f"{_API}.STREAM.INFO.{stream}"


def purge_stream(stream: str) -> str:
    return f"{_API}.STREAM.PURGE.{stream}"


def delete_stream(stream: str) -> str:
    return f"{_API}.STREAM.DELETE.{stream}"


def create_consumer(stream: str, consumer: str) -> str:
    """The consumer's name is in the subject, and the server holds the request to it: without, a
    request may name any consumer, and change it."""
    return f"{_API}.CONSUMER.CREATE.{stream}.{consumer}"


def consumer_info(stream: str, consumer: str) -> str:
    return f"{_API}.CONSUMER.INFO.{stream}.{consumer}"


def delete_consumer(stream: str, consumer: str) -> str:
    return f"{_API}.CONSUMER.DELETE.{stream}.{consumer}"


def next_messages(stream: str, consumer: str) -> str:
    return f"{_API}.CONSUMER.MSG.NEXT.{stream}.{consumer}"


def acknowledgements(stream: str, consumer: str) -> str:
    """The pattern of what a receiver answers to the messages of a consumer."""
    return f"{_ACK}.{stream}.{consumer}.>"
