"""Queries, one module a table. Every function takes the session first and never commits."""
