//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS as PostgreSQL means them: client, verifier, stored secrets
