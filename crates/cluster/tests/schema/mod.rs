//! What the program prints as JSON, held against the folder `schemas`.

use serde_json::Value;

/// Validates the object that every command prints, and its result.
pub(crate) fn validate(printed: &Value) -> Result<(), Box<dyn std::error::Error>> {
    validate_by("envelope", printed)?;
    if !printed["result"].is_null() {
        validate_by(printed["schema"].as_str().unwrap_or_default(), &printed["result"])?;
    }
    Ok(())
}

fn validate_by(schema: &str, value: &Value) -> Result<(), Box<dyn std::error::Error>> {
    let path = format!("{}/schemas/{schema}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let schema: Value = serde_json::from_str(&text)?;
    let validator = jsonschema::validator_for(&schema)?;
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{path}: {errors:#?}\n{value:#}");
    Ok(())
}
