//! Every attack on Redis.

kvolt_security::attacks!(kvolt_security::Stage::redis());
