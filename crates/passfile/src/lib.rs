//! PostgreSQL password files, read and written exactly as libpq does
