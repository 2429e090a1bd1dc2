//! Descriptions of AWS errors for the log.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// The kind and the code of an SDK error. The request is left out, because it may hold secrets and personal data.
pub(crate) fn describe<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    match error {
        SdkError::ServiceError(service) => {
            format!("service error {}", service.err().code().unwrap_or("without a code"))
        }
        SdkError::TimeoutError(_) => "time-out".to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "connection time-out".to_owned(),
        SdkError::DispatchFailure(_) => "connection failed".to_owned(),
        SdkError::ConstructionFailure(_) => "request could not be built".to_owned(),
        SdkError::ResponseError(_) => "response could not be read".to_owned(),
        _ => "unknown error".to_owned(),
    }
}
