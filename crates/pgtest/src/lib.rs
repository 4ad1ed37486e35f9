//! Finds, starts and asks real PostgreSQL servers and libpq, for tests and demonstrations
