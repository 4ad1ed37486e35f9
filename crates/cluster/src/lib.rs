//! Secures the connections between PostgreSQL nodes and proves it; the library behind the program pgward
