import Client from 'bittorrent-tracker/client'
import { trackerClient } from './shared/tracker-client.js'

trackerClient(Client)
