"""Operations for administrators, as Synapse's tools know them."""
