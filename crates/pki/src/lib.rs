//! Certificates that every PostgreSQL, every libpq and rustls accept, and a checker that says why one will not do
