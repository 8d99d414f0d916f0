"""The tables of users, tokens, sessions, attempts and the audit log: one schema, so that one lock and one
transaction hold a change together with its entry in the log."""

from __future__ import annotations

SCHEMA_VERSION = 1
NAME = "asgard_access"
SCHEMA = """
CREATE TABLE asgard_users (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    password TEXT,
    created_at DOUBLE PRECISION NOT NULL,
    disabled_at DOUBLE PRECISION,
    PRIMARY KEY (workspace, name)
);
CREATE TABLE asgard_tokens (
    workspace TEXT NOT NULL,
    token TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    owner TEXT,
    sources TEXT NOT NULL,
    pipelines TEXT NOT NULL,
    digest TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    created_by TEXT NOT NULL,
    expires_at DOUBLE PRECISION,
    used_at DOUBLE PRECISION,
    ended_at DOUBLE PRECISION,
    ended_why TEXT,
    PRIMARY KEY (workspace, token)
);
CREATE INDEX asgard_tokens_by_time ON asgard_tokens (workspace, created_at);
CREATE TABLE asgard_sessions (
    workspace TEXT NOT NULL,
    session TEXT NOT NULL,
    owner TEXT NOT NULL,
    digest TEXT NOT NULL,
    address TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (workspace, session)
);
CREATE INDEX asgard_sessions_by_owner ON asgard_sessions (workspace, owner);
CREATE TABLE asgard_attempts (
    workspace TEXT NOT NULL,
    attempt TEXT NOT NULL,
    subject TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (workspace, subject, attempt)
);
CREATE TABLE asgard_audit (
    workspace TEXT NOT NULL,
    number BIGINT NOT NULL,
    at_microseconds BIGINT NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    address TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (workspace, number)
);
CREATE TABLE asgard_audit_head (
    workspace TEXT NOT NULL,
    number BIGINT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (workspace)
)
"""
