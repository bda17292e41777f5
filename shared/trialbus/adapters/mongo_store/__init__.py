"""The store on MongoDB 6.0 or newer, through motor or pymongo's own asyncio client."""

from trialbus.adapters.mongo_store.client import Driver, MongoSettings
from trialbus.adapters.mongo_store.store import MongoStore

__all__ = ["Driver", "MongoSettings", "MongoStore"]
