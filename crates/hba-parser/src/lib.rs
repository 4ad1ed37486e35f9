//! Lossless parser and editor of PostgreSQL's pg_hba.conf and pg_ident.conf; decides as the server does
