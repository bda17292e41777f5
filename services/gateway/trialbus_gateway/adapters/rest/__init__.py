"""The API under /v1: each route carries its description, and the OpenAPI document is made of those.

operations: what a description is. parameters: what is read from paths and queries, with its limits.
shapes: what bodies and answers look like. document: OpenAPI 3.1 out of the routes.
"""
