//! The types of attributes of a name, as OpenSSL calls them.

/// The short name by which OpenSSL prints an attribute type, from 1.1.1 on (`obj_dat.h`). Types
/// without one are unknown to it, and servers let nobody in whose name has one.
///
/// `oid` are the contents of the type's object identifier.
pub(super) fn short_name(oid: &[u8]) -> Option<&'static str> {
    Some(match oid {
        [0x55, 4, number] => return x520(*number),
        // pilotAttributeType of RFC 4524 and RFC 1274
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, number] => match number {
            1 => "UID",
            2 => "textEncodedORAddress",
            3 => "mail",
            4 => "info",
            6 => "roomNumber",
            8 => "userClass",
            9 => "host",
            10 => "manager",
            20 => "homeTelephoneNumber",
            21 => "secretary",
            25 => "DC",
            37 => "associatedDomain",
            38 => "associatedName",
            40 => "personalTitle",
            41 => "mobileTelephoneNumber",
            44 => "uid",
            48 => "buildingName",
            _ => return None,
        },
        // PKCS#9
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 9, number] => match number {
            1 => "emailAddress",
            2 => "unstructuredName",
            7 => "challengePassword",
            8 => "unstructuredAddress",
            20 => "friendlyName",
            _ => return None,
        },
        // Where a company is registered, of extended validation.
        [0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, number] => match number {
            1 => "jurisdictionL",
            2 => "jurisdictionST",
            3 => "jurisdictionC",
            _ => return None,
        },
        // RFC 3739
        [0x2b, 6, 1, 5, 5, 7, 9, number] => match number {
            1 => "id-pda-dateOfBirth",
            2 => "id-pda-placeOfBirth",
            3 => "id-pda-gender",
            4 => "id-pda-countryOfCitizenship",
            5 => "id-pda-countryOfResidence",
            _ => return None,
        },
        _ => return None,
    })
}

/// The types of X.520.
fn x520(number: u8) -> Option<&'static str> {
    Some(match number {
        3 => "CN",
        4 => "SN",
        5 => "serialNumber",
        6 => "C",
        7 => "L",
        8 => "ST",
        9 => "street",
        10 => "O",
        11 => "OU",
        12 => "title",
        13 => "description",
        14 => "searchGuide",
        15 => "businessCategory",
        16 => "postalAddress",
        17 => "postalCode",
        18 => "postOfficeBox",
        19 => "physicalDeliveryOfficeName",
        20 => "telephoneNumber",
        21 => "telexNumber",
        22 => "teletexTerminalIdentifier",
        23 => "facsimileTelephoneNumber",
        24 => "x121Address",
        25 => "internationaliSDNNumber",
        26 => "registeredAddress",
        27 => "destinationIndicator",
        28 => "preferredDeliveryMethod",
        29 => "presentationAddress",
        30 => "supportedApplicationContext",
        31 => "member",
        32 => "owner",
        33 => "roleOccupant",
        34 => "seeAlso",
        35 => "userPassword",
        36 => "userCertificate",
        37 => "cACertificate",
        38 => "authorityRevocationList",
        39 => "certificateRevocationList",
        40 => "crossCertificatePair",
        41 => "name",
        42 => "GN",
        43 => "initials",
        44 => "generationQualifier",
        45 => "x500UniqueIdentifier",
        46 => "dnQualifier",
        47 => "enhancedSearchGuide",
        48 => "protocolInformation",
        49 => "distinguishedName",
        50 => "uniqueMember",
        51 => "houseIdentifier",
        52 => "supportedAlgorithms",
        53 => "deltaRevocationList",
        54 => "dmdName",
        65 => "pseudonym",
        72 => "role",
        97 => "organizationIdentifier",
        _ => return None,
    })
}
