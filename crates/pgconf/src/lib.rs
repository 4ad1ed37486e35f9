//! Lossless rewriter of postgresql.conf, with the meaning of every setting of PostgreSQL 12 to 18
