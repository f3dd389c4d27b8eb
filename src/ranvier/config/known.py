"""Keys of Synapse (1.157) that this server knows, but does not use yet: one warning each.

Names only, dotted; a name covers everything below it. What is used stands in `ranvier.config.keys`.
"""

KNOWN = frozenset(
    """
    account_threepid_delegates account_validity admin_contact allow_per_room_profiles
    allow_underscore_prefixed_registration allowed_avatar_mimetypes allowed_local_3pids
    app_service_config_files auto_accept_invites auto_join_mxid_localpart auto_join_rooms
    auto_join_rooms_for_guests autocreate_auto_join_room_preset autocreate_auto_join_rooms
    autocreate_auto_join_rooms_federated background_updates backup_media_store_path
    bcrypt_rounds bind_host bind_port block_non_admin_invites caches.cache_autotuning
    caches.cache_entry_ttl caches.expire_caches caches.expiry_time caches.per_cache_factors
    caches.sync_response_cache_duration caches.track_memory_usage cas_config
    cleanup_extremities_with_dummy_events database.args.application_name
    database.args.check_same_thread database.args.connect_timeout database.args.cp_openfun
    database.args.cp_reconnect database.args.keepalives database.args.keepalives_count
    database.args.keepalives_idle database.args.keepalives_interval database.args.options
    database.args.sslcert database.args.sslkey database.args.sslrootcert database.args.timeout
    database.statement_timeout database.synchronous_commit database.txn_limit database_path
    databases default_identity_server default_power_level_content_override
    delete_stale_devices_after disable_msisdn_registration disable_registration
    dummy_events_threshold email enable_3pid_changes enable_3pid_lookup
    enable_ephemeral_messages enable_group_creation enable_legacy_metrics
    enable_local_media_storage enable_registration_captcha
    enable_registration_token_3pid_bypass event_cache_size exclude_rooms_from_presence
    exclude_rooms_from_sync experimental_features
    federation_rc_concurrent federation_rc_reject_limit federation_rc_sleep_delay
    federation_rc_sleep_limit federation_rc_window_size
    federation_rr_transactions_per_room_per_second federation_whitelist_endpoint_enabled
    forgotten_room_retention_period form_secret form_secret_path gc_min_interval gc_thresholds
    group_creation_prefix gzip_responses hs_disabled hs_disabled_message http_proxy https_proxy
    include_profile_data_on_invite invite_3pid_guest jwt_config key_server_signing_keys_path
    ldap_config limit_profile_requests_to_users_who_share_rooms limit_remote_rooms
    limit_usage_by_mau listeners[].additional_resources listeners[].mode
    listeners[].request_id_header listeners[].resources[].compress listeners[].tag log_config
    log_file macaroon_secret_key macaroon_secret_key_path manhole manhole_settings
    matrix_authentication_service matrix_rtc mau_appservice_trial_days mau_limit_alerting
    mau_limit_reserved_threepids mau_stats_only mau_trial_days max_avatar_size max_mau_value
    max_spider_size media_retention media_storage_providers metrics_bind_host metrics_flags
    metrics_port modules next_link_domain_whitelist no_proxy_hosts no_redirect_stdio no_tls
    oembed oidc_config oidc_providers opentracing outbound_federation_restricted_to
    password_config.localdb_enabled password_providers perspectives presence.presence_router
    prevent_media_downloads_from print_pidfile push rc_3pid_validation rc_admin_redaction
    rc_message_burst_count rc_messages_per_second rc_third_party_invite recaptcha_private_key
    recaptcha_private_key_path recaptcha_public_key recaptcha_public_key_path
    recaptcha_siteverify_api registrations_require_3pid remote_media_download_burst_count
    remote_media_download_per_second replication_torture_level report_stats_endpoint
    request_token_inhibit_3pid_errors require_auth_for_profile_requests
    restrict_public_rooms_to_local_users retention room_invite_state_types room_prejoin_state
    saml2_config sentry server_context server_notices signing_key soft_file_limit spam_checker
    sso stats synchronous_backup_media_store templates third_party_event_rules
    track_appservice_user_ips track_puppeted_user_ips trust_identity_server_for_password_resets
    unsecure_port uploads_path url_preview_accept_language url_preview_enabled
    url_preview_ip_range_blacklist url_preview_ip_range_whitelist url_preview_url_blacklist
    use_account_validity_in_account_status use_appservice_legacy_authorization use_frozen_dicts
    use_insecure_ssl_client_just_for_testing_do_not_use user_agent_suffix user_consent
    user_ips_max_age user_types verbose web_client_location worker_log_config
    worker_main_http_uri worker_manhole worker_replication_port
    """.split()  # noqa: SIM905
)
