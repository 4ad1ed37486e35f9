//! The commands as people call them: each file in `tests/cmd` is a session at a terminal, with what is
//! printed. `TRYCMD=overwrite cargo test -p cluster --test cmd` writes anew what they print; read it.

#[test]
fn commands_print_what_the_sessions_say() {
    trycmd::TestCases::new()
        .default_bin_name("pgward")
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .case("tests/cmd/*.trycmd");
}
